"""Text written to harm: it raises nothing, takes time linear in its length, and is the same however it is cut."""

from __future__ import annotations

import json
import random
import time

import pytest

from quire.text.parsers import REASONING_FORMATS, TOOL_FORMATS
from tests.text.parsers.transcripts import CALLS_BY_FORMAT, parsed, parser

TOOLS = sorted(TOOL_FORMATS)
PAIRS = [(name, "") for name in TOOLS] + [("", name) for name in sorted(REASONING_FORMATS)]


def opening(tools: str) -> str:
    """The text of a first call up to the middle of its arguments."""
    text = CALLS_BY_FORMAT[tools]
    return text[: text.index("Rome") + 2]


def repeated(tools: str, reasoning: str) -> list[str]:
    """Pieces of text that hurt parsers when they come a hundred thousand times."""
    pieces = [
        "[",
        "{",
        '{"',
        '"',
        "'",
        "\\",
        "\\u",
        "(",
        "f(",
        "<",
        "<|",
        "a=",
        "\n",
        " ",
        ",",
        "```",
        "}",
        "]",
        "{:",
        "🌞",
    ]
    for one in (TOOL_FORMATS.get(tools), REASONING_FORMATS.get(reasoning)):
        if one is not None:
            pieces += [*one.markers, *(marker[:-1] for marker in one.markers if len(marker) > 1)]
    return list(dict.fromkeys(pieces))


def seconds(tools: str, reasoning: str, pieces: list[str]) -> float:
    """Of processor time."""
    one = parser(tools, reasoning)
    start_s = time.process_time()
    for piece in pieces:
        one.feed(piece)
    one.finish()
    return time.process_time() - start_s


def assert_linear(tools: str, reasoning: str, start: str, unit: str, num_chars: int, size: int) -> None:
    """Twice the text may take 2.6 times as long; quadratic work would be a factor of four. `size` of each piece."""
    ratios = []
    for _ in range(4):  # a busy machine spoils a measurement, not four
        text = start + unit * (num_chars // len(unit))
        texts = (text, text + unit * (num_chars // len(unit)))
        once_s, twice_s = (
            seconds(tools, reasoning, [one[at : at + size] for at in range(0, len(one), size)])
            for one in texts
        )
        ratios.append(twice_s / (once_s + 0.002))
        if ratios[-1] < 2.6:
            return
    pytest.fail(f"{start!r} and {unit!r}: {ratios}")


@pytest.mark.parametrize(("tools", "reasoning"), PAIRS)
def test_time_doubles_with_the_text(tools, reasoning):
    units = repeated(tools, reasoning)
    for start in ["", opening(tools)] if tools else [""]:
        for unit in ("{", "<", *units[-2:]):
            assert_linear(tools, reasoning, start, unit, 10_000, 10_000)
            assert_linear(tools, reasoning, start, unit, 2_000, 4)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("tools", "reasoning"), PAIRS)
def test_time_doubles_with_any_text_up_to_a_megabyte(tools, reasoning):
    for start in ["", opening(tools)] if tools else [""]:
        for unit in repeated(tools, reasoning):
            assert_linear(tools, reasoning, start, unit, 500_000, 500_000)
            assert_linear(tools, reasoning, start, unit, 20_000, 1)


@pytest.mark.parametrize("tools", TOOLS)
def test_twenty_thousand_brackets_in_arguments_end_in_json(tools):
    for bracket in ("[", "{", '{"a":', "[{"):
        reply = parsed([opening(tools).rsplit("Ro", 1)[0], '", ', "\n" + bracket * 20_000], tools)
        assert reply.calls
        for _, arguments in reply.calls:
            json.loads(arguments)


@pytest.mark.parametrize(("tools", "reasoning"), PAIRS)
def test_lone_surrogates_and_control_characters(tools, reasoning):
    for text in ("\ud800", '{"name": "\\ud800", "arguments": {"a": "\\udfff\\ud800"}}', "\x00\x1b\x7f\u2028"):
        starts = ["", opening(tools), CALLS_BY_FORMAT[tools]] if tools else [""]
        for start in starts:
            for one in (text, *TOOL_FORMATS[tools].begins) if tools else (text,):
                reply = parsed([start, one, text], tools, reasoning)
                for name, arguments in reply.calls:
                    name.encode()
                    json.loads(arguments)


@pytest.mark.parametrize(("tools", "reasoning"), [(name, "qwen3") for name in TOOLS] + PAIRS)
def test_random_splices_of_the_format_are_the_same_however_cut(tools, reasoning):
    """Fragments of valid text, markers and noise in random order; every result has arguments that parse."""
    randomness = random.Random(f"{tools} {reasoning}")
    fragments = [
        *repeated(tools, reasoning),
        '"name": "now"',
        '"arguments": {',
        "weather(city='x'",
        "true",
        "1e5",
        "\n\n",
    ]
    whole_text = CALLS_BY_FORMAT.get(tools, "<think>some thought</think> an answer")
    for _ in range(25):
        text = ""
        for _ in range(randomness.randrange(1, 12)):
            if randomness.random() < 0.5:
                start = randomness.randrange(len(whole_text))
                text += whole_text[start : start + randomness.randrange(40)]
            else:
                text += randomness.choice(fragments)
        whole = parsed([text], tools, reasoning)
        for _, arguments in whole.calls:
            json.loads(arguments)
        places = sorted(randomness.randrange(len(text) + 1) for _ in range(8))
        pieces = [text[one:other] for one, other in zip([0, *places], [*places, len(text)], strict=True)]
        for cut in (pieces, list(text)):
            reply = parsed(cut, tools, reasoning)
            assert (reply.content, reply.reasoning, reply.calls) == (
                whole.content,
                whole.reasoning,
                whole.calls,
            ), (text, cut)


@pytest.mark.parametrize("name", TOOLS)
def test_code_in_arguments_is_never_run(name, tmp_path):
    target = tmp_path / "ran"
    code = f"__import__('pathlib').Path({str(target)!r}).touch()"
    for start in (opening(name), TOOL_FORMATS[name].begins[0] if TOOL_FORMATS[name].begins else "["):
        parsed([start + code], name)
        parsed([f"[weather(city={code})]"], name)
    assert not target.exists()
