"""The arithmetic of the reliability table, how callers merge what they read, and that no release holds its faults."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.faults import PLUGINS
from tools.reliability.figure import Figure, percentile, spread, table
from tools.reliability.loads import _upper_bound
from tools.reliability.streams import Reply


def test_percentiles_and_spread():
    values = [float(value) for value in range(100, 0, -1)]
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile(values, 1.0)) == (50, 99, 100)
    assert percentile([7.0], 0.99) == 7.0 and percentile([], 0.5) == 0.0
    assert spread([3.0, 1.0, 2.0], "ms") == "2.00 ms [1.00 … 3.00]"


def test_the_upper_bound_of_the_median_of_slopes():
    # 10 points: Kendall's score deviates by sqrt(125), so the interval ends at the (45 + 1.96 * 11.18) / 2 = 33rd
    assert _upper_bound([float(place) for place in range(45)], 10) == 33.0


def test_a_figure_below_its_bar_is_seen():
    shown = table([Figure("a", "b", 1, "c", True), Figure("d", "e", 2, "f", False)])
    assert "| a | b | 1 | c | yes |" in shown and "| d | e | 2 | f | NO |" in shown


def test_two_cuts_of_a_stream_merge_to_the_same():
    whole, parts = Reply(), Reply()
    whole.take({"choices": [{"index": 0, "delta": {"content": "abc"}, "finish_reason": "stop"}]})
    for delta, reason in (({"role": "assistant", "content": "a"}, None), ({"content": "bc"}, "stop")):
        parts.take({"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})
    assert whole.choices == parts.choices
    with pytest.raises(AssertionError, match="told twice"):
        parts.take({"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]})


def test_what_counts_as_a_whole_reply():
    reply = Reply(status=200, num_done=1)
    assert not reply.is_whole
    reply.take({"choices": [{"index": 0, "text": "a", "finish_reason": "stop"}]})
    assert reply.is_whole
    reply.take({"error": {"code": "engine_dead"}})
    assert not reply.is_whole


def test_faults_are_named_exactly_or_refused(monkeypatch):
    monkeypatch.syspath_prepend(PLUGINS)
    monkeypatch.delitem(sys.modules, "quire_faults", raising=False)
    import quire_faults

    fault, _ = quire_faults.parse("exit@3:77,nan@1:5")
    assert (fault.kind, fault.step, fault.token_id) == ("exit", 3, 77)
    for text in ("explode@1:2", "exit", "exit@x:1"):
        with pytest.raises(ValueError):
            quire_faults.parse(text)


def test_no_release_holds_the_faults():
    import quire

    package = Path(quire.__file__).parent
    assert package not in PLUGINS.parents
    assert not [path for path in package.rglob("*.py") if "quire_faults" in path.read_text()]
