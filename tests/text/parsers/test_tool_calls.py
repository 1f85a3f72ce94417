"""Every format of tool calls: transcripts, every cut, every truncation."""

from __future__ import annotations

import json
import random

import pytest

from quire.text.parsers import TOOL_FORMATS
from tests.text.parsers.transcripts import CALLS, CALLS_BY_FORMAT, FUNCTIONS, parsed

NAMES = sorted(TOOL_FORMATS)
# these replies are calls from their first character on, or text
WITHOUT_MARKER = {"pythonic", "xlam"}


def values(reply) -> list[tuple[str, object]]:
    return [(name, json.loads(arguments)) for name, arguments in reply.calls]


def same(one, other) -> bool:
    """Whether two replies are equal but for random ids."""
    return (one.content, one.reasoning, one.calls) == (other.content, other.reasoning, other.calls)


def test_every_format_has_a_transcript():
    assert sorted(CALLS_BY_FORMAT) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_several_calls_with_nested_and_unicode_arguments(name):
    reply = parsed([CALLS_BY_FORMAT[name]], name)
    assert values(reply) == CALLS
    assert (reply.content, reply.reasoning) == ("", "")
    assert len(set(reply.ids)) == len(CALLS)


@pytest.mark.parametrize("name", NAMES)
def test_content_only(name):
    text = "It is 2 < 3 [sure], {really}; <b>bold</b> and\n\nan end.  "
    assert parsed([text], name) == parsed(list(text), name)
    assert parsed([text], name).content == text


@pytest.mark.parametrize("name", [name for name in NAMES if name not in WITHOUT_MARKER])
def test_content_around_calls_loses_the_white_space_next_to_them(name):
    before = "Let me look.\n\n"
    if name == "openai":
        before = f"<|channel|>final<|message|>{before}<|end|><|start|>assistant"
    reply = parsed([before + CALLS_BY_FORMAT[name] + "\n"], name)
    assert values(reply) == CALLS
    assert reply.content == "Let me look."


@pytest.mark.parametrize("name", NAMES)
def test_every_cut_gives_the_same(name):
    text = CALLS_BY_FORMAT[name] + "\nthat was it"
    whole = parsed([text], name)
    for place in range(len(text)):
        assert same(parsed([text[:place], text[place:]], name), whole), text[:place]
    assert same(parsed(list(text), name), whole)
    randomness = random.Random(name)
    for _ in range(50):
        places = sorted(randomness.randrange(len(text)) for _ in range(randomness.randrange(2, 30)))
        pieces = [text[one:other] for one, other in zip([0, *places], [*places, len(text)], strict=True)]
        assert same(parsed(pieces, name), whole), pieces


@pytest.mark.parametrize("name", NAMES)
def test_a_truncated_reply_has_arguments_that_parse_and_begin_as_the_whole_ones(name):
    text = CALLS_BY_FORMAT[name]
    whole = parsed([text], name)
    num_calls = 0
    for end in range(len(text)):
        reply = parsed([text[:end]], name)
        assert num_calls <= len(reply.calls)  # a call that was told is never taken back
        num_calls = len(reply.calls)
        for place, (called, arguments) in enumerate(reply.calls):
            assert called == whole.calls[place][0]
            assert isinstance(json.loads(arguments), dict)
        for (_, arguments), (_, complete) in list(zip(reply.calls, whole.calls, strict=False))[:-1]:
            assert arguments == complete


@pytest.mark.parametrize("name", NAMES)
def test_arguments_stream_instead_of_coming_at_once(name):
    from quire.text.parsers import CallArguments
    from tests.text.parsers.transcripts import parser

    one = parser(name)
    events = [event for char in CALLS_BY_FORMAT[name] for event in one.feed(char)]
    pieces = [event.text for event in events if isinstance(event, CallArguments) and event.index == 2]
    assert len(pieces) > 20, pieces


@pytest.mark.parametrize("name", NAMES)
def test_at_most_one_call(name):
    reply = parsed([CALLS_BY_FORMAT[name]], name, max_calls=1)
    assert values(reply) == CALLS[:1]
    assert reply.content == ""


@pytest.mark.parametrize(
    ("name", "call_id"), [("kimi_k2", "functions.weather:0"), ("mistral", None), ("hermes", None)]
)
def test_ids(name, call_id):
    first = parsed([CALLS_BY_FORMAT[name]], name).ids[0]
    if call_id:
        assert first == call_id
    elif name == "mistral":
        assert len(first) == 9
        assert first.isalnum()
    else:
        assert first.startswith("chatcmpl-tool-")


VARIANTS = [
    # Mistral's newer tokenizers: a name, then its arguments, the marker before each
    (
        "mistral",
        '[TOOL_CALLS]weather[ARGS]{"city": "Rome"}[TOOL_CALLS]now[ARGS]{}',
        [("weather", {"city": "Rome"}), ("now", {})],
    ),
    (
        "mistral",
        '[TOOL_CALLS]weather[CALL_ID]abcdef123[ARGS]{"city": "Rome"}',
        [("weather", {"city": "Rome"})],
    ),
    ("mistral", 'One moment.[TOOL_CALLS]weather{"city": "Rome"}', [("weather", {"city": "Rome"})]),
    ("mistral", '[TOOL_CALLS] [{"name": "now", "arguments": {}, "id": "abcdef123"}]', [("now", {})]),
    # the key order is not the usual one
    (
        "hermes",
        '<tool_call>{"arguments": {"city": "Rome"}, "name": "weather"}</tool_call>',
        [("weather", {"city": "Rome"})],
    ),
    # arguments written as a string, as null, not at all
    (
        "hermes",
        '<tool_call>{"name": "weather", "arguments": "{\\"city\\": \\"Rome\\"}"}</tool_call>',
        [("weather", {"city": "Rome"})],
    ),
    ("hermes", '<tool_call>{"name": "now", "arguments": null}</tool_call>', [("now", {})]),
    ("hermes", '<tool_call>{"name": "now"}</tool_call>', [("now", {})]),
    # one bracket too many, one too few, and a list
    ("hermes", '<tool_call>{"name": "now", "arguments": {}}}\n</tool_call>', [("now", {})]),
    (
        "hermes",
        '<tool_call>{"name": "weather", "arguments": {"city": "Rome"\n</tool_call>',
        [("weather", {"city": "Rome"})],
    ),
    ("hermes", '<tool_call>[{"name": "now", "arguments": {}}]</tool_call>', [("now", {})]),
    # Python's spelling of JSON
    (
        "hermes",
        "<tool_call>{'name': 'weather', 'arguments': {'city': 'Rome', 'days': None}}</tool_call>",
        [("weather", {"city": "Rome", "days": None})],
    ),
    # the end marker in a string is part of the string
    (
        "hermes",
        '<tool_call>{"name": "weather", "arguments": {"city": "</tool_call>"}}</tool_call>',
        [("weather", {"city": "</tool_call>"})],
    ),
    ("llama3_json", '{"name": "weather", "parameters": {"city": "Rome"}}', [("weather", {"city": "Rome"})]),
    ("llama3_json", '{"type": "function", "name": "now", "parameters": {}}', [("now", {})]),
    ("granite", '<tool_call>[{"name": "now", "arguments": {}}]', [("now", {})]),
    (
        "qwen3_coder",
        "<function=weather>\n<parameter=city>\nRome\n</parameter>\n</function>\n</tool_call>",
        [("weather", {"city": "Rome"})],
    ),
    (
        "qwen3_coder",
        "<tool_call><function=weather><parameter=city>12</parameter><parameter=days>12</parameter></function></tool_call>",
        [("weather", {"city": "12", "days": 12})],
    ),
    (
        "qwen3_coder",
        "<tool_call>\n<function=other>\n<parameter=a>\n[1, 2]\n</parameter>\n"
        "<parameter=b>\nfree text\n</parameter>\n</function>\n</tool_call>",
        [("other", {"a": [1, 2], "b": "free text"})],
    ),
    # a forgotten closing tag
    (
        "qwen3_coder",
        "<tool_call>\n<function=weather>\n<parameter=city>\nRome\n</function>\n</tool_call>",
        [("weather", {"city": "Rome"})],
    ),
    (
        "qwen3_coder",
        "<tool_call>\n<function=weather>\n<parameter=city>\n a\n\n b \n</parameter>\n</function>\n</tool_call>",
        [("weather", {"city": " a\n\n b "})],
    ),
    ("glm45", "<tool_call>now\n</tool_call>", [("now", {})]),
    (
        "glm45",
        "<tool_call>weather<arg_key>city</arg_key><arg_value>Rome</arg_value></tool_call>",
        [("weather", {"city": "Rome"})],
    ),
    ("openai", " to=functions.now<|channel|>commentary json<|message|>{}", [("now", {})]),
    (
        "olmo3",
        "<function_calls>weather(city='Rome', days=null)\nnow()</function_calls>",
        [("weather", {"city": "Rome", "days": None}), ("now", {})],
    ),
    (
        "pythonic",
        "[weather(city='Martha\\'s', days=-1.5e3), now()]",
        [("weather", {"city": "Martha's", "days": -1500.0}), ("now", {})],
    ),
    ("llama4_pythonic", "[weather(city='Rome')]", [("weather", {"city": "Rome"})]),
    ("xlam", '[TOOL_CALLS][{"name": "now", "arguments": {}}]', [("now", {})]),
    (
        "functiongemma",
        '<start_function_call>call:weather{city:<escape>a {b} "c"<escape>,days:3}<end_function_call>',
        [("weather", {"city": 'a {b} "c"', "days": 3})],
    ),
]


@pytest.mark.parametrize(("name", "text", "calls"), VARIANTS)
def test_variants_and_mended_mistakes(name, text, calls):
    whole = parsed([text], name)
    assert values(whole) == calls
    assert whole.content in ("", "One moment.")
    for place in range(len(text)):
        assert same(parsed([text[:place], text[place:]], name), whole), text[:place]


NO_CALLS = [
    ("hermes", "The tag is <tool_call> and nothing else."),
    ("hermes", "<tool_call>not JSON</tool_call>"),
    ("hermes", '<tool_call>{"no": "name"}</tool_call>'),
    ("hermes", '<tool_call>{"name": 7, "arguments": {}}</tool_call>'),
    ("hermes", '<tool_call>{"name": "two words", "arguments": {}}</tool_call>'),
    ("hermes", '<tool_call>{"name": "wea'),
    ("llama3_json", '{"name": "Bob", "parameters": {"age": 7}}'),
    ("llama3_json", '{"answer": 42}'),
    ("llama3_json", "  {not JSON}"),
    ("pythonic", "[1, 2, 3]"),
    ("pythonic", "[see the weather (today)]"),
    ("pythonic", "[unknown(a=1)]"),
    ("pythonic", "[weather('Rome')]"),
    ("olmo3", "<function_calls>no call here</function_calls>"),
    ("qwen3_coder", "Write <function=name> to call."[:-9]),
    ("deepseek_v31", "<｜tool▁call▁begin｜>" + "x" * 600),
    ("xlam", '["a", "list"]'),
]


@pytest.mark.parametrize(("name", "text"), NO_CALLS)
def test_what_is_no_call_stays_content_as_it_stands(name, text):
    whole = parsed([text], name)
    assert whole.calls == []
    assert whole.content == text
    for place in range(len(text)):
        assert parsed([text[:place], text[place:]], name) == whole


def test_a_broken_call_does_not_take_the_good_ones_with_it():
    good = '<tool_call>{"name": "now", "arguments": {}}</tool_call>'
    reply = parsed([good + "<tool_call>nonsense</tool_call>" + good], "hermes")
    assert values(reply) == [("now", {}), ("now", {})]
    assert reply.content == "<tool_call>nonsense</tool_call>"


def test_without_tools_nothing_is_looked_for():
    text = CALLS_BY_FORMAT["hermes"]
    assert parsed([text]).content == text
    assert FUNCTIONS
