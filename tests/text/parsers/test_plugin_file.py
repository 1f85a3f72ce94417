"""Formats of plugin files: Quire's own kind, classes with vLLM's interface, and what goes wrong in either."""

from __future__ import annotations

import logging
import sys

import pytest

from quire.base.constraints import Constraint, Grammar
from quire.base.errors import ConfigError, Unsupported
from quire.text.grammar import after_reasoning
from quire.text.parsers import (
    REASONING_FORMATS,
    TOOL_FORMATS,
    ReplyReading,
    find_parsers,
    load_plugin_file,
    reasoning_format,
    tool_format,
)
from quire.text.tokenizer import Tokenizer
from tests.text.parsers.plugin_sources import OWN, VLLM
from tests.text.parsers.transcripts import FUNCTIONS, parsed, put_together
from tests.text.small_tokenizers import byte_level

TOKENIZER = Tokenizer(byte_level(), {}, {})
TOOLS = [{"function": {"name": name, "parameters": schema}} for name, schema in FUNCTIONS.items()]
CALL = 'CALL weather {"city": "Rome"}'


@pytest.fixture(autouse=True)
def _tables_as_they_were():
    kept = [(table, dict(table)) for table in (TOOL_FORMATS, REASONING_FORMATS)]
    yield
    for table, before in kept:
        table.clear()
        table.update(before)


@pytest.fixture
def load(tmp_path):
    def write(source: str, name: str = "plugin.py") -> None:
        file = tmp_path / name
        file.write_text(source)
        load_plugin_file(str(file), setting="tool_parser_plugin")

    return write


def read(text, tools="", reasoning="", *, is_streamed, prompt_ids=(), max_calls=None):
    """One reply through a reading, three characters at a time, an id for each character."""
    reading = ReplyReading(
        tool_format(tools),
        reasoning_format(reasoning),
        TOKENIZER,
        prompt="",
        tools=TOOLS,
        max_calls=max_calls,
        is_streamed=is_streamed,
    )
    parser = reading.new_parser(prompt_ids)
    events = []
    for at in range(0, len(text), 3):
        piece = text[at : at + 3]
        events += parser.feed(piece, TOKENIZER.encode(piece, add_special_tokens=False))
    reply = put_together(events + parser.finish())
    assert len(reply.calls) == (parser.num_calls if max_calls is None else min(max_calls, parser.num_calls))
    return reply


def test_a_listed_format_reads_as_those_of_the_table_do(load):
    load(OWN)
    text = 'First. <do>{"name": "weather", "arguments": {"city": "Rome"}}</do>'
    whole = parsed([text], "listed")
    assert (whole.content, whole.calls) == ("First.", [("weather", '{"city": "Rome"}')])
    assert parsed(list(text), "listed").calls == whole.calls
    assert parsed(["{{ hm }} yes"], "", "musing").reasoning == "hm"


def test_a_reader_of_its_own_streams(load):
    load(OWN)
    text = 'Both: ((weather -> {"city": "Rome"} )) ((now -> {}))'
    for pieces in ([text], list(text)):
        reply = parsed(pieces, "arrows")
        assert (reply.content, reply.calls) == ("Both:", [("weather", '{"city": "Rome"}'), ("now", "{}")])
    assert parsed(["((no call))"], "arrows").content == "((no call))"


@pytest.mark.parametrize("size", [1, 4, 99])
def test_what_a_reader_raises_is_logged_and_the_rest_is_content(load, caplog, size):
    load(OWN)
    text = 'One ((now -> {})) two ((raise -> {"a": 1})) three ((now -> {}))'
    with caplog.at_level(logging.WARNING):
        reply = parsed([text[at : at + size] for at in range(0, len(text), size)], "arrows")
    assert reply.calls == [("now", "{}")]
    assert reply.content.endswith('-> {"a": 1})) three ((now -> {}))')
    assert "ZeroDivisionError" in caplog.text


def test_a_plugin_comes_first_where_the_template_decides(load):
    templates = {"default": "<do> </think> <tool_call>{'name'"}
    assert find_parsers(templates, "llama").tool == "hermes"
    load(OWN)
    found = find_parsers(templates, "llama")
    assert (found.tool, found.reasoning) == ("listed", "musing")


def test_a_name_of_quires_own_is_taken_over(load, caplog):
    with caplog.at_level(logging.INFO):
        load(OWN.replace('name="listed"', 'name="hermes"'))
    assert "stands in for Quire's own" in caplog.text
    assert parsed(['<do>{"name": "now", "arguments": {}}</do>'], "hermes").calls == [("now", "{}")]


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_class_written_for_vllm_reads_calls(load, is_streamed):
    load(VLLM)
    assert "vllm" not in sys.modules
    reply = read("Look: " + CALL, "loud", is_streamed=is_streamed)
    assert reply.calls == [("weather", '{"city": "Rome"}')]
    assert reply.content.startswith("Look: ")
    assert read("No call.", "shouted", is_streamed=is_streamed).content == "No call."


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("name", ["whole", "refusing"])
def test_a_class_that_cannot_stream_is_given_the_whole_reply(load, name, is_streamed):
    load(VLLM)
    assert read("now then", name, is_streamed=is_streamed).calls == [("now", "{}"), ("then", "{}")]
    assert read("now then", name, is_streamed=is_streamed, max_calls=1).calls == [("now", "{}")]


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize(
    ("text", "content", "names"),
    [
        (
            "Both: [now weather]",
            "Both: ",
            ["now", "weather"],
        ),  # a last piece that needed two steps of the class
        ("A list [1, 2", "A list [1, 2", []),
        ("[", "[", []),
        ("Three [1 [2 [3! and more", "Three [1 [2 [3! and more", []),  # it raises, with text in hand
    ],
)
def test_what_a_class_still_holds_back_when_a_streamed_reply_ends_is_told(
    load, text, content, names, is_streamed
):
    load(VLLM)
    reply = read(text, "held", is_streamed=is_streamed)
    assert (reply.content, [name for name, _ in reply.calls]) == (content, names)


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("text", ["hm  ", "hm |yes ", "hm"])
def test_reasoning_that_a_class_still_holds_back_is_told(load, text, is_streamed):
    load(VLLM)
    reasoning, _, content = text.partition("|")
    reply = read(text, "", "hasty", is_streamed=is_streamed)
    assert (reply.reasoning, reply.content) == (reasoning, content)


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("name", ["broken", "Unmade"])
def test_what_a_class_raises_is_logged_and_the_text_is_content(load, caplog, name, is_streamed):
    load(VLLM)
    reply = read("no json at all", name, is_streamed=is_streamed)
    assert (reply.content, reply.calls) == ("no json at all", [])
    assert "of a plugin file failed" in caplog.text


@pytest.mark.parametrize("is_streamed", [False, True])
def test_reasoning_and_calls_of_classes_and_of_the_table_combine(load, is_streamed):
    load(VLLM)
    both = read("hm|" + CALL, "shouted", "halves", is_streamed=is_streamed)
    assert (both.reasoning, both.calls) == ("hm", [("weather", '{"city": "Rome"}')])
    table = read(
        'hm|<tool_call>{"name": "now", "arguments": {}}</tool_call>',
        "hermes",
        "halves",
        is_streamed=is_streamed,
    )
    assert (table.reasoning, table.calls) == ("hm", [("now", "{}")])
    other = read("<think>hm</think>" + CALL, "shouted", "qwen3", is_streamed=is_streamed)
    assert (other.reasoning, other.calls) == ("hm", [("weather", '{"city": "Rome"}')])
    alone = read("hm|yes", "", "halves", is_streamed=is_streamed)
    assert (alone.reasoning, alone.content) == ("hm", "yes")


def test_special_tokens_are_shown_to_a_class_that_asks_for_them(load):
    load(VLLM)

    def shown(tools):
        return ReplyReading(tool_format(tools), None, TOKENIZER, prompt="").shown_ids

    assert shown("refusing") == TOKENIZER.special_ids != frozenset()
    assert shown("shouted") == frozenset()


def test_a_grammar_after_the_reasoning_of_a_class_needs_its_end(load):
    load(VLLM)
    constraint = Constraint(grammar=Grammar(backend="guidance", kind="regex", text="a"))
    with pytest.raises(Unsupported, match="reasoning_end_str"):
        after_reasoning(constraint, reasoning_format("halves"), TOKENIZER, "")
    r1 = after_reasoning(constraint, reasoning_format("nano"), TOKENIZER, "")
    assert r1.reasoning_ends == ["</think>"]
    told = reasoning_format("halves", start="^", end="|")
    assert after_reasoning(constraint, told, TOKENIZER, "").reasoning_ends == ["|"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("1 / 0", r"ZeroDivisionError: division by zero"),
        ("import vllm.nothing", "No module named 'vllm.nothing'"),
        ("x = 1", "registers no format; list some in FORMATS"),
        ("FORMATS = [1]", "FORMATS holds int"),
        (OWN.replace('("<do>",), ends', '"<do>", ends'), "listed: begins must be a tuple of texts"),
        (OWN.replace('("<do>",), ends', '("<do>", "<do>x"), ends'), "'<do>' begins another marker"),
        (OWN.replace('ends=("}}",)', "ends=()"), "musing: reasoning needs begins and ends"),
        (OWN.replace('name="listed"', 'name="none"'), "must have a name"),
    ],
)
def test_a_file_that_is_not_right_is_refused_in_a_sentence(load, source, message):
    with pytest.raises(ConfigError, match=rf"^--tool-parser-plugin: .*plugin\.py .*{message}"):
        load(source)
    assert "listed" not in TOOL_FORMATS


def test_a_file_must_be_there(tmp_path, load):
    with pytest.raises(ConfigError, match="there is no file"):
        load_plugin_file(str(tmp_path / "none.py"), setting="tool_parser_plugin")
    with pytest.raises(ConfigError, match=r"its name must end in \.py"):
        load(OWN, "plugin.txt")
