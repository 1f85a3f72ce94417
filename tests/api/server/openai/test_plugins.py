"""Formats of a plugin file through the whole server: streamed, whole, and when the file's code raises."""

from __future__ import annotations

import pytest
from tests.api.server.openai.test_chat import HELLO, events_of
from tests.api.server.openai.test_tools import TOOLS
from tests.text.parsers.plugin_sources import OWN, VLLM
from tests.text.parsers.transcripts import put_together

from quire.text.parsers import (
    REASONING_FORMATS,
    TOOL_FORMATS,
    CallArguments,
    CallBegin,
    Content,
    Reasoning,
    load_plugin_file,
)

CHAT = "/v1/chat/completions"
CALL = 'Look: CALL weather {"city": "Rome"}'
TOLD = [("weather", '{"city": "Rome"}')]


@pytest.fixture(autouse=True)
def _with_plugins(tmp_path):
    kept = [(table, dict(table)) for table in (TOOL_FORMATS, REASONING_FORMATS)]
    for name, source in (("own.py", OWN), ("foreign.py", VLLM)):
        (tmp_path / name).write_text(source)
        load_plugin_file(str(tmp_path / name), setting="tool_parser_plugin")
    yield
    for table, before in kept:
        table.clear()
        table.update(before)


def of_message(message: dict) -> list:
    found = [Content(message["content"] or ""), Reasoning(message.get("reasoning") or "")]
    for number, call in enumerate(message.get("tool_calls") or ()):
        function = call["function"]
        found += [
            CallBegin(number, function["name"], call["id"]),
            CallArguments(number, function["arguments"]),
        ]
    return found


def of_chunk(chunk: dict) -> list:
    (choice,) = chunk["choices"]
    delta = choice["delta"]
    found = [Content(delta.get("content") or ""), Reasoning(delta.get("reasoning") or "")]
    for call in delta.get("tool_calls") or ():
        function = call["function"]
        if function.get("name"):
            found.append(CallBegin(call["index"], function["name"], call["id"]))
        found.append(CallArguments(call["index"], function.get("arguments") or ""))
    return found


@pytest.fixture
def ask(answering, connect):
    """What a model that writes `text` is understood to say, and why it stopped."""

    async def send(text: str, parsers: dict, **fields: object):
        service = answering(text, **parsers)
        async with connect(service) as http:
            reply = await http.post(CHAT, json={"messages": HELLO, "tools": TOOLS, **fields})
            assert reply.status_code == 200, reply.text
            assert (await http.get("/health")).status_code == 200
        if fields.get("stream"):
            chunks = events_of(reply.text)
            events = [event for chunk in chunks for event in of_chunk(chunk)]
            return put_together(events), chunks[-1]["choices"][0]["finish_reason"]
        (choice,) = reply.json()["choices"]
        return put_together(of_message(choice["message"])), choice["finish_reason"]

    return send


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("name", "text"),
    [("shouted", CALL), ("arrows", 'Look: ((weather -> {"city": "Rome"}))')],
)
async def test_calls_are_told(ask, name, text, stream):
    reply, reason = await ask(text, {"tool_call_parser": name}, stream=stream)
    assert (reply.calls, reason) == (TOLD, "tool_calls")
    assert reply.content.strip() == "Look:"


@pytest.mark.parametrize("stream", [False, True])
async def test_reasoning_is_told(ask, stream):
    parsers = {"tool_call_parser": "shouted", "reasoning_parser": "halves"}
    reply, reason = await ask("The weather.|" + CALL, parsers, stream=stream)
    assert (reply.reasoning, reply.calls, reason) == ("The weather.", TOLD, "tool_calls")
    assert reply.content.strip() == "Look:"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", ["broken", "Unmade"])
async def test_a_class_that_raises_leaves_its_reply_as_content(ask, caplog, name, stream):
    reply, reason = await ask(CALL, {"tool_call_parser": name}, stream=stream)
    assert (reply.content, reply.calls, reason) == (CALL, [], "stop")
    assert "of a plugin file failed" in caplog.text


async def test_calls_that_must_be_made_are_written_and_read_as_json(ask):
    text = '[{"name": "weather", "arguments": {"city": "Rome"}}]'
    reply, _ = await ask(text, {"tool_call_parser": "shouted"}, tool_choice="required")
    assert reply.calls == TOLD
