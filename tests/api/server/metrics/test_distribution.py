"""Distribution against prometheus-client's own histogram."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram

from quire.api.server.metrics.distribution import Distribution

EDGES = (0.001, 0.5, 1.0, 2.5, 100.0)


@given(st.lists(st.sampled_from([0.0, 0.001, 0.0011, 0.5, 0.7, 1.0, 2.5, 2.6, 100.0, 1e9])))
def test_it_counts_as_prometheus_does(values):
    ours, registry = Distribution(EDGES), CollectorRegistry()
    theirs = Histogram("h", "h", buckets=EDGES, registry=registry)
    for value in values:
        ours.observe(value)
        theirs.observe(value)
    (family,) = registry.collect()
    expected = {s.labels["le"]: s.value for s in family.samples if s.name == "h_bucket"}
    assert dict(ours.cumulative()) == {
        (f"{float(edge):g}" if edge != "+Inf" else edge): count for edge, count in expected.items()
    }
    assert ours.total == pytest.approx(sum(values))  # Python 3.12 adds up with less rounding


def test_several_equal_values_at_once():
    one, many = Distribution(EDGES), Distribution(EDGES)
    for _ in range(3):
        one.observe(0.5)
    many.observe(0.5, times=3)
    assert (one.counts, one.total) == (many.counts, many.total)
