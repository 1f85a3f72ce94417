"""Every way of marking reasoning: with and without it, from the prompt's end on, beside tool calls, at every cut."""

from __future__ import annotations

import json

import pytest

from quire.text.parsers import REASONING_FORMATS
from tests.text.parsers.transcripts import CALLS, CALLS_BY_FORMAT, parsed

NAMES = sorted(REASONING_FORMATS)
THOUGHT, ANSWER = "First I add <b>17</b>.\n\nThen 25: it is 42.", "The sum is 42.\n\n- Quire 🌞"
TAGGED = [
    "deepseek_r1",
    "deepseek_v3",
    "glm45",
    "kimi_k2",
    "minimax_m2",
    "nemotron_v3",
    "olmo3",
    "qwen3",
    "step3",
]
WITH_THINK = dict.fromkeys(TAGGED, f"<think>\n{THOUGHT}\n</think>\n\n{ANSWER}")
REPLIES = {
    **WITH_THINK,
    "cohere_command3": f"<|START_THINKING|>{THOUGHT}<|END_THINKING|>\n<|START_RESPONSE|>{ANSWER}<|END_RESPONSE|>",
    "ernie45": f"{THOUGHT}\n</think>\n\n<response>\n{ANSWER}\n</response>\n",
    "gemma4": f"<|channel>thought\n{THOUGHT}<channel|>{ANSWER}",
    "granite": f"Here is my thought process:\n{THOUGHT}\n\nHere is my response:\n\n{ANSWER}",
    "hunyuan_a13b": f"<think>\n{THOUGHT}\n</think>\n<answer>\n{ANSWER}\n</answer>",
    "mistral": f"[THINK]{THOUGHT}[/THINK]{ANSWER}",
    "openai_gptoss": f"<|channel|>analysis<|message|>{THOUGHT}<|end|>"
    f"<|start|>assistant<|channel|>final<|message|>{ANSWER}",
    "seed_oss": f"<seed:think>{THOUGHT}</seed:think>\n{ANSWER}",
}


def test_every_format_has_a_transcript():
    assert sorted(REPLIES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_reasoning_and_content_are_told_apart_at_every_cut(name):
    text = REPLIES[name]
    whole = parsed([text], reasoning=name)
    assert whole.reasoning == THOUGHT
    assert whole.content.rstrip() == ANSWER
    assert parsed(list(text), reasoning=name) == whole
    for place in range(len(text)):
        assert parsed([text[:place], text[place:]], reasoning=name) == whole, text[:place]


@pytest.mark.parametrize("name", NAMES)
def test_truncated_reasoning_is_reasoning(name):
    text = REPLIES[name]
    end = text.index("25: it")
    reply = parsed([text[:end]], reasoning=name)
    assert reply.reasoning == THOUGHT[: THOUGHT.index(" 25: it")]
    assert reply.content == ""


@pytest.mark.parametrize("name", NAMES)
def test_a_reply_without_reasoning(name):
    reply = parsed([ANSWER], reasoning=name)
    if REASONING_FORMATS[name].starts_inside:
        assert (reply.reasoning, reply.content) == (ANSWER, "")
    else:
        assert (reply.reasoning, reply.content) == ("", ANSWER)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "openai_gptoss"])
def test_the_end_of_the_prompt_decides_how_the_reply_starts(name):
    one = REASONING_FORMATS[name]
    begun = f"<|im_start|>assistant\n{one.begins[0]}\n"
    inside = parsed([f"{THOUGHT}\n{one.ends[0]}\n\n{ANSWER}"], reasoning=name, prompt=begun)
    assert (inside.reasoning, inside.content) == (THOUGHT, ANSWER)
    closed = f"{begun}\n{one.ends[0]}\n\n"
    outside = parsed([ANSWER], reasoning=name, prompt=closed)
    assert (outside.reasoning, outside.content) == ("", ANSWER)


@pytest.mark.parametrize(
    ("tools", "reasoning", "lead"),
    [
        ("hermes", "qwen3", "<think>\nI need the weather.\n</think>\n\n"),
        ("qwen3_coder", "nemotron_v3", "I need the weather.\n</think>\n\n"),
        ("glm45", "glm45", "\n<think>I need the weather.</think>\n"),
        ("minimax_m2", "minimax_m2", "I need the weather.\n</think>\n\n"),
        ("kimi_k2", "kimi_k2", "<think>I need the weather."),  # its calls end the reasoning
        ("gemma4", "gemma4", "<|channel>thought\nI need the weather.<channel|>"),
        ("cohere_command3", "cohere_command3", "<|START_THINKING|>I need the weather.<|END_THINKING|>"),
        ("seed_oss", "seed_oss", "<seed:think>I need the weather.</seed:think>\n"),
        ("hunyuan_a13b", "hunyuan_a13b", "<think>\nI need the weather.\n</think>\n<answer>\n"),
        ("ernie45", "ernie45", "I need the weather.\n</think>\n\n"),
        ("xlam", "qwen3", "<think>I need the weather.</think>"),
        ("pythonic", "qwen3", "<think>I need the weather.</think>\n"),
        (
            "openai",
            "openai_gptoss",
            "<|channel|>analysis<|message|>I need the weather.<|end|><|start|>assistant",
        ),
    ],
)
def test_reasoning_before_tool_calls(tools, reasoning, lead):
    text = lead + CALLS_BY_FORMAT[tools]
    whole = parsed([text], tools, reasoning)
    assert whole.reasoning == "I need the weather."
    assert whole.content == ""
    assert [(name, json.loads(arguments)) for name, arguments in whole.calls] == CALLS
    for place in range(0, len(text), 3):
        cut = parsed([text[:place], text[place:]], tools, reasoning)
        assert (cut.reasoning, cut.content, cut.calls) == (whole.reasoning, whole.content, whole.calls)


def test_a_call_that_is_only_thought_of_is_no_call():
    text = f"<think>I could write {CALLS_BY_FORMAT['hermes']}</think>No."
    reply = parsed([text], "hermes", "qwen3")
    assert reply.calls == []
    assert "<tool_call>" in reply.reasoning
    assert reply.content == "No."


def test_a_tag_later_in_the_answer_is_content():
    text = "The tag is <think>, its end </think>."
    assert parsed([text], reasoning="qwen3").content == text


def test_harmony_tells_a_preamble_from_private_messages():
    text = (
        "<|channel|>commentary<|message|>I will look.<|end|><|start|>assistant"
        "<|channel|>commentary to=python<|message|>print(1)<|call|>"
    )
    reply = parsed([text], "openai", "openai_gptoss")
    assert (reply.content, reply.reasoning) == ("I will look.", "print(1)")
    plain = "no channels at all"
    assert parsed([plain], reasoning="openai_gptoss").content == plain
