"""The scorer: right answers score full in every form a server may give, wrong ones are named."""

import copy
import json

import pytest
from score import HELDOUT

from quire.api.bench.tasks import is_right, read_tasks, score_answers

PROBES = read_tasks(HELDOUT)
STORY = "Once there was a {hero}. " + "The day was long and the road was dry. " * 12


def raw_answer(probe):
    expected = probe["expected"]
    if "tool_calls" in expected:
        return "\n".join(f"<tool_call>\n{json.dumps(call)}\n</tool_call>" for call in expected["tool_calls"])
    content = expected.get("content") or STORY.format(hero=expected["story"]).strip()
    return f"<think>\nones first\n</think>\n\n{content}" if probe["thinking"] else content


def parsed_answer(probe):
    expected = probe["expected"]
    calls = [
        {"type": "function", "function": call | {"arguments": json.dumps(call["arguments"])}}
        for call in expected.get("tool_calls", [])
    ]
    content = expected.get("content") or (
        STORY.format(hero=expected["story"]) if "story" in expected else None
    )
    return {"content": content, "tool_calls": calls, "reasoning": "ones first" if probe["thinking"] else None}


@pytest.mark.parametrize("form", [raw_answer, parsed_answer])
def test_right_answers_score_full(form):
    scores = score_answers(PROBES, {probe["id"]: form(probe) for probe in PROBES})
    assert len(scores) == 12
    assert {score["accuracy"] for score in scores.values()} == {1.0}
    assert sum(score["total"] for score in scores.values()) == len(PROBES)


def test_a_wrong_answer_is_counted_and_named():
    answers = {probe["id"]: raw_answer(probe) for probe in PROBES}
    answers["facts-003"] = "I do not know."
    score = score_answers(PROBES, answers)["facts"]
    assert score["wrong"] == ["facts-003"]
    assert score["accuracy"] == pytest.approx(79 / 80)


def test_reasoning_must_be_there_exactly_when_asked_for():
    thinking = next(probe for probe in PROBES if probe["thinking"])
    plain = next(probe for probe in PROBES if not probe["thinking"])
    assert not is_right(thinking, thinking["expected"]["content"])
    assert not is_right(plain, "<think>\nhm\n</think>\n\n" + plain["expected"]["content"])


def test_a_call_with_another_argument_is_wrong():
    probe = copy.deepcopy(next(probe for probe in PROBES if probe["task"] == "tool_call"))
    answer = raw_answer(probe)
    probe["expected"]["tool_calls"][0]["arguments"] = {"other": 1}
    assert not is_right(probe, answer)
    assert not is_right(probe, "<tool_call>\nnot json\n</tool_call>")


def test_every_question_needs_an_answer():
    with pytest.raises(KeyError, match="arithmetic-000"):
        score_answers(PROBES, {})
