"""The built-in model calls a tool and thinks, and OpenAI's client reads both, whole and streamed."""

from __future__ import annotations

import json
from collections.abc import Iterator

import openai
import pytest

PHONE = {
    "type": "function",
    "function": {
        "name": "get_phone",
        "description": "Find the phone number of a person.",
        "parameters": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
    },
}
ASK_PHONE = [{"role": "user", "content": "Find the phone number of Mia."}]
ASK_SUM = [{"role": "user", "content": "What is 41-33?"}]
THINKING = {"chat_template_kwargs": {"enable_thinking": True}}


@pytest.fixture
def client(server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.base_url}/v1", api_key="none", max_retries=0) as made:
        yield made


def ask(client: openai.OpenAI, **fields):
    model = client.models.list().data[0].id
    return client.chat.completions.create(model=model, temperature=0, max_tokens=300, **fields)


def test_the_choice_is_printed_with_its_reason(server):
    log = server.log.read_text()
    assert "hermes: the chat template has <tool_call>" in log
    assert "[--reasoning-parser]" in log


def test_a_tool_is_called(client):
    (choice,) = ask(client, messages=ASK_PHONE, tools=[PHONE]).choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    (call,) = choice.message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_phone", {"name": "Mia"})


def test_a_streamed_call_is_the_same(client):
    (whole,) = ask(client, messages=ASK_PHONE, tools=[PHONE]).choices[0].message.tool_calls
    name, arguments, reasons = "", "", []
    for chunk in ask(client, messages=ASK_PHONE, tools=[PHONE], stream=True):
        (choice,) = chunk.choices
        reasons.append(choice.finish_reason)
        for call in choice.delta.tool_calls or ():
            name += call.function.name or ""
            arguments += call.function.arguments or ""
    assert (name, arguments) == (whole.function.name, whole.function.arguments)
    assert reasons[-1] == "tool_calls"


def test_thoughts_are_not_content(client):
    (plain,) = ask(client, messages=ASK_SUM).choices
    (thoughtful,) = ask(client, messages=ASK_SUM, extra_body=THINKING).choices
    assert thoughtful.message.reasoning
    assert "think>" not in thoughtful.message.content
    assert "8" in thoughtful.message.content
    assert not hasattr(plain.message, "reasoning")
