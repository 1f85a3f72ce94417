"""Formats come from the settings table, ratios from rounds, logit errors from their definition."""

import numpy
import pytest

from quire.api.bench.accuracy import evenly, logit_error
from quire.api.bench.compare import FIGURES, READY, compared
from quire.api.bench.formats import choose, offered
from quire.api.bench.startup import READY as READY_LINE
from quire.api.bench.startup import split
from quire.base.config import SETTINGS, Asked
from quire.base.errors import ConfigError


def test_every_format_offered_is_accepted_and_every_other_is_refused():
    formats = offered("cpu")
    assert {"float32", "bfloat16", "float16", "int8"} <= formats.keys()
    for keywords in formats.values():
        Asked.from_keywords(keywords).refuse_by_state("cpu")
    for choice in SETTINGS.by_dest["kv_cache_dtype"].kind.choices:
        if choice != "auto" and f"kv {choice}" not in formats:
            with pytest.raises(ConfigError, match="refused"):
                Asked.from_keywords({"kv_cache_dtype": choice}).refuse_by_state("cpu")


def test_a_format_that_is_not_offered_is_refused_by_name():
    with pytest.raises(ConfigError, match="'int3' is not offered"):
        choose(["int3"], "cpu")


def test_ratios_are_taken_round_by_round_and_less_time_is_better():
    rows = list(compared({"speed": {"a": [2.0, 6.0], "b": [1.0, 2.0]}, READY: {"a": [1.0], "b": [4.0]}}, {}))
    assert [row["ratio"] for row in rows] == [
        {"min": 2.0, "median": 2.5, "max": 3.0},
        {"min": 4.0, "median": 4.0, "max": 4.0},
    ]


def test_a_side_is_compared_with_quires_of_its_format_and_else_with_the_first():
    speeds = {
        "quire a": [8.0],
        "quire b": [6.0],
        "peer a": [2.0],
        "peer b": [2.0],
        "peer c": [2.0],
        "url": [1.0],
    }
    formats = {name: name.split()[-1] for name in speeds if name != "url"}
    rows = list(compared({"speed": speeds}, formats))
    assert [(row["first"], row["other"], row["ratio"]["median"]) for row in rows] == [
        ("quire a", "quire b", 8 / 6),
        ("quire a", "peer a", 4.0),
        ("quire b", "peer b", 3.0),
        ("quire a", "peer c", 4.0),
        ("quire a", "url", 8.0),
    ]


def test_rates_count_what_the_figure_names():
    prefill, decode, batch = FIGURES
    assert prefill.rate(0.5) == 1024
    assert decode.rate(2.0) == 16
    assert batch.rate(6.0) == 1024


def test_logit_error_of_equal_rows_is_nothing_and_of_others_is_its_definition():
    reference = numpy.array([[1.0, 2.0, -numpy.inf], [0.0, 0.0, 0.0]])
    assert logit_error(reference, reference) == {
        "logit_error_max": 0.0,
        "logit_error_mean": 0.0,
        "kl_divergence": 0.0,
        "same_best_token": 1.0,
    }
    moved = reference.copy()
    moved[1] = [numpy.log(2), 0.0, 0.0]
    found = logit_error(moved, reference)
    assert found["logit_error_max"] == pytest.approx(numpy.log(2))
    assert found["logit_error_mean"] == pytest.approx(numpy.log(2) / 5)
    expected = sum(1 / 3 * numpy.log((1 / 3) / share) for share in (1 / 2, 1 / 4, 1 / 4)) / 2
    assert found["kl_divergence"] == pytest.approx(expected)


def test_tasks_are_taken_evenly():
    assert evenly(list(range(10)), 5) == [0, 2, 4, 6, 8]
    assert evenly([1, 2], None) == evenly([1, 2], 5) == [1, 2]


def test_the_ready_line_is_taken_apart():
    found = READY_LINE.match(
        "Ready after 1.5 s (python 0.03, engine wait 1.2; beside it the engine: KV pool 0.1)"
    )
    assert split(found.group(2)) == {"python": 0.03, "engine wait": 1.2}
    assert split(found.group(3)) == {"KV pool": 0.1}
