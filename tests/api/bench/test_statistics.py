"""Percentiles, spreads and overlaps, against definitions that do not share their code."""

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quire.api.bench.statistics import figures, most_in_flight, percentile, spread

VALUES = st.lists(st.floats(0, 1e6), min_size=1, max_size=40)


@given(VALUES, st.floats(0, 100))
def test_percentiles_are_numpys(values, percent):
    assert percentile(values, percent) == pytest.approx(float(numpy.percentile(values, percent)), abs=1e-6)


def test_figures_have_the_fields_names_and_are_milliseconds():
    found = figures("ttft", [0.1, 0.2, 0.6], [50, 99.9])
    assert found["mean_ttft_ms"] == pytest.approx(300)
    assert found["median_ttft_ms"] == found["p50_ttft_ms"] == pytest.approx(200)
    assert set(found) == {"mean_ttft_ms", "median_ttft_ms", "std_ttft_ms", "p50_ttft_ms", "p99.9_ttft_ms"}


def test_nothing_measured_is_zero():
    assert set(figures("itl", [], [99]).values()) == {0.0}


def test_spread_is_least_middle_greatest():
    assert spread([3.0, 1.0, 2.0]) == {"min": 1.0, "median": 2.0, "max": 3.0}


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 10)), max_size=20))
def test_most_in_flight_counts_overlaps(pairs):
    spans = [(start, start + length) for start, length in pairs]
    expected = max((sum(start <= at < end for start, end in spans) for at in range(41)), default=0)
    assert most_in_flight(spans) == expected
