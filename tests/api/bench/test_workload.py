"""Arrivals keep their rate, prompts their lengths, prefixes are shared, files say what is wrong with them."""

import json
import math
import random
from statistics import fmean, pstdev

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quire.api.bench import workload
from quire.api.bench.arrivals import arrival_times_s
from quire.api.bench.workload import Lengths
from quire.base.errors import ConfigError


@given(st.integers(1, 200), st.floats(0.1, 100), st.floats(0.1, 10), st.integers(0, 99))
def test_arrivals_rise_and_end_where_the_rate_says(count, rate, burstiness, seed):
    times = arrival_times_s(count, rate, burstiness, seed)
    assert len(times) == count
    assert times == sorted(times)
    assert times[-1] == pytest.approx(count / rate)
    assert times == arrival_times_s(count, rate, burstiness, seed)


def test_an_infinite_rate_starts_all_at_once():
    assert arrival_times_s(3, math.inf) == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("burstiness", [0.25, 1.0, 4.0])
def test_gaps_vary_as_burstiness_says(burstiness):
    """A gamma distribution of shape k has a coefficient of variation of 1/√k."""
    times = arrival_times_s(20_000, 5.0, burstiness, 1)
    gaps = [after - before for before, after in zip([0.0, *times], times, strict=False)]
    assert pstdev(gaps) / fmean(gaps) == pytest.approx(burstiness**-0.5, rel=0.05)


@settings(max_examples=50)
@given(st.integers(1, 200), st.integers(1, 100), st.floats(0, 1), st.integers(0, 20))
def test_random_lengths_stay_within_their_range(inputs, outputs, ratio, prefix):
    lengths = Lengths(inputs, outputs, prefix, ratio)
    for turn in workload.random_turns(10, lengths, seed=3):
        assert turn.prompt_tokens == len(turn.prompt)
        assert max(1, inputs * (1 - ratio) - 1) <= len(turn.prompt) - prefix <= inputs * (1 + ratio) + 1
        assert max(1, outputs * (1 - ratio) - 1) <= turn.output_tokens <= outputs * (1 + ratio) + 1


def test_prefixes_are_shared_in_turn_and_nothing_else_is():
    turns = workload.random_turns(6, Lengths(8, 4, 16), num_prefixes=2)
    heads = [tuple(turn.prompt[:16]) for turn in turns]
    assert heads[0::2] == [heads[0]] * 3
    assert heads[1::2] == [heads[1]] * 3
    assert heads[0] != heads[1]
    assert len({tuple(turn.prompt[16:]) for turn in turns}) == 6


def test_another_seed_asks_other_things():
    ask = [workload.random_turns(2, Lengths(8, 4), seed=seed) for seed in (0, 0, 1)]
    assert ask[0] == ask[1] != ask[2]


def test_a_conversation_begins_with_the_common_system_message_once():
    talks = workload.random_talks(2, 3, Lengths(5, 7, 4))
    roles = [[message["role"] for message in turn.prompt] for turn in talks[0].turns]
    assert roles == [["system", "user"], ["user"], ["user"]]
    assert talks[0].turns[0].prompt[0] == talks[1].turns[0].prompt[0]
    assert len(talks[0].turns[1].prompt[0]["content"].split()) == 5


def write_lines(path, *lines):
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return path


def test_a_trace_is_ordered_and_begins_at_zero(tmp_path):
    path = write_lines(
        tmp_path / "trace.jsonl",
        {"timestamp": 12.5, "input_length": 7, "output_length": 3},
        {"timestamp": 10.0, "prompt": "Hello", "output_tokens": 5},
    )
    turns = workload.file_turns(path, 99, is_trace=True)
    assert [(turn.at_s, turn.output_tokens) for turn in turns] == [(0.0, 5), (2.5, 3)]
    assert turns[0].prompt == "Hello"
    assert len(turns[1].prompt) == turns[1].prompt_tokens == 7


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ({"timestamp": 1}, "line 1: nothing to ask"),
        ({"prompt": "x"}, "line 1: no timestamp"),
        ({"timestamp": 1, "prompt": "x", "output_tokens": 0}, "0 output tokens"),
        ({"timestamp": "soon", "prompt": "x"}, r"timestamp"),
    ],
)
def test_a_wrong_trace_line_is_named(tmp_path, line, complaint):
    with pytest.raises(ConfigError, match=complaint):
        workload.file_turns(write_lines(tmp_path / "t", line), 9, is_trace=True)


def test_sharegpt_takes_first_questions_and_the_length_of_answers(tmp_path):
    talks = [
        {"conversations": [{"from": "human", "value": "What?"}, {"from": "gpt", "value": "one two three"}]},
        {"conversations": [{"from": "human", "value": "lonely"}]},
    ]
    path = tmp_path / "s.json"
    path.write_text(json.dumps(talks))
    turns = workload.sharegpt_turns(path, 3, None)
    assert [(turn.prompt, turn.output_tokens) for turn in turns] == [("What?", 3)] * 3
    path.write_text("{}")
    with pytest.raises(ConfigError, match="no conversation"):
        workload.sharegpt_turns(path, 3, None)


def test_drawn_ids_are_ordinary_tokens():
    assert set(workload.token_ids(5000, random.Random(0))) <= set(range(300, 1300))
