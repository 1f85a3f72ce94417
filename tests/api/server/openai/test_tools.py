"""Tool calls and reasoning through the whole server, as OpenAI's own client sees them."""

from __future__ import annotations

import json

import httpx
import openai
import pytest

HELLO = [{"role": "user", "content": "hello"}]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
    for name in ("weather", "news")
]
CALLS = (
    '<tool_call>\n{"name": "weather", "arguments": {"city": "Köln"}}\n</tool_call>\n'
    '<tool_call>\n{"name": "news", "arguments": {"city": "Rome"}}\n</tool_call>'
)
THINKING = "<think>\nThe weather first.\n</think>\n\n"
EXPECTED = [("weather", {"city": "Köln"}), ("news", {"city": "Rome"})]


@pytest.fixture
def ask(answering, connect):
    """POST to the chat route of a model that writes `text`; the parsed body of the answer."""

    async def send(text: str, changes: dict | None = None, **fields: object) -> httpx.Response:
        async with connect(answering(text, **(changes or {}))) as http:
            return await http.post("/v1/chat/completions", json={"messages": HELLO, **fields})

    return send


async def choice(reply: httpx.Response) -> dict:
    assert reply.status_code == 200, reply.text
    return reply.json()["choices"][0]


def called(message) -> list[tuple[str, object]]:
    return [(call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls]


@pytest.fixture
def client_of(answering, serve):
    """OpenAI's client of a live server whose model writes `text`."""
    clients = []

    def connect(text: str, **changes: object) -> openai.OpenAI:
        live = serve(answering(text, **changes))
        clients.append(openai.OpenAI(base_url=f"{live.url}/v1", api_key="none", max_retries=0))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


def test_whole_reply(client_of):
    client = client_of(THINKING + CALLS)
    completion = client.chat.completions.create(model="scripted", messages=HELLO, tools=TOOLS)
    (one,) = completion.choices
    assert one.finish_reason == "tool_calls"
    assert called(one.message) == EXPECTED
    assert one.message.content is None
    assert one.message.reasoning == one.message.reasoning_content == "The weather first."
    assert all(call.type == "function" and call.id for call in one.message.tool_calls)
    assert len({call.id for call in one.message.tool_calls}) == 2
    # and what came can be sent back
    answers = [{"role": "tool", "tool_call_id": call.id, "content": "7"} for call in one.message.tool_calls]
    follow_up = [*HELLO, one.message.model_dump(exclude_none=True), *answers]
    assert client.chat.completions.create(model="scripted", messages=follow_up, tools=TOOLS).choices


def test_stream(client_of):
    client = client_of(THINKING + "Let me see.\n" + CALLS)
    chunks = list(client.chat.completions.create(model="scripted", messages=HELLO, tools=TOOLS, stream=True))
    deltas = [chunk.choices[0].delta for chunk in chunks]
    assert "".join(delta.content or "" for delta in deltas) == "Let me see."
    assert "".join(getattr(delta, "reasoning", None) or "" for delta in deltas) == "The weather first."
    assert (
        "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas) == "The weather first."
    )
    calls: list[list[str]] = []
    for delta in deltas:
        for call in delta.tool_calls or ():
            if call.index == len(calls):  # the first of a call: all about it but its arguments
                assert call.id
                assert call.type == "function"
                assert call.function.arguments == ""
                calls.append([call.function.name, ""])
            else:
                assert (call.id, call.type, call.function.name) == (None, None, None)
            calls[call.index][1] += call.function.arguments
    assert [(name, json.loads(arguments)) for name, arguments in calls] == EXPECTED
    assert [chunk.choices[0].finish_reason for chunk in chunks][-1] == "tool_calls"
    assert len([one for one in deltas if one.tool_calls]) > 6


def test_streaming_helper(client_of):
    client = client_of(CALLS)
    with client.chat.completions.stream(model="scripted", messages=HELLO, tools=TOOLS) as stream:
        completion = stream.get_final_completion()
    assert called(completion.choices[0].message) == EXPECTED


async def test_text_is_content_and_ends_as_it_ends(ask):
    one = await choice(await ask("No tool is needed.", tools=TOOLS))
    assert one["message"] == {"role": "assistant", "content": "No tool is needed."}
    assert one["finish_reason"] == "stop"


async def test_no_tools_no_calls(ask):
    for fields in ({}, {"tools": TOOLS, "tool_choice": "none"}):
        one = await choice(await ask(CALLS, **fields))
        assert "tool_calls" not in one["message"]
        assert '"name": "weather"' in one["message"]["content"]
        assert one["finish_reason"] == "stop"


async def test_truncated_calls_keep_their_reason_and_parse(ask):
    one = await choice(await ask(CALLS, tools=TOOLS, max_tokens=45))
    assert one["finish_reason"] == "length"
    for call in one["message"].get("tool_calls", []):
        json.loads(call["function"]["arguments"])


async def test_only_markers_stay_in_the_text_of_special_tokens(ask):
    one = await choice(await ask("a<|other|>b" + CALLS, tools=TOOLS))
    assert one["message"]["content"] == "ab"
    assert len(one["message"]["tool_calls"]) == 2
    one = await choice(await ask("a<|other|>b<tool_call>"))
    assert one["message"]["content"] == "ab"


async def test_one_call_at_most_without_parallel_calls(ask):
    one = await choice(await ask(CALLS, tools=TOOLS, parallel_tool_calls=False))
    assert [call["function"]["name"] for call in one["message"]["tool_calls"]] == ["weather"]
    assert one["finish_reason"] == "tool_calls"


async def test_reasoning_can_be_left_out(ask):
    one = await choice(await ask(THINKING + "Sunny.", include_reasoning=False))
    assert one["message"] == {"role": "assistant", "content": "Sunny."}
    shown = await choice(await ask(THINKING + "Sunny."))
    assert shown["message"]["reasoning"] == "The weather first."
    refused = await ask("Sunny.", {"reasoning_parser": ""}, include_reasoning=False)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "include_reasoning"


@pytest.mark.parametrize(
    ("changes", "fields", "param", "words"),
    [
        ({"tool_call_parser": ""}, {}, "tools", "--tool-call-parser"),
        ({"enable_auto_tool_choice": False}, {}, "tool_choice", "--enable-auto-tool-choice"),
    ],
)
async def test_what_cannot_be_done_is_refused_by_name(changes, fields, param, words, ask):
    reply = await ask(CALLS, changes, tools=TOOLS, **fields)
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == param
    assert words in reply.json()["error"]["message"]


async def test_log_probabilities_and_ids_are_told_once(ask):
    fields = {"tools": TOOLS, "logprobs": True, "return_token_ids": True}
    whole = await choice(await ask(THINKING + CALLS, **fields))
    reply = await ask(THINKING + CALLS, stream=True, **fields)
    lines = [line.removeprefix("data: ") for line in reply.text.splitlines() if line.startswith("data: {")]
    choices = [one for line in lines for one in json.loads(line)["choices"]]
    assert [token_id for one in choices for token_id in one.get("token_ids") or []] == whole["token_ids"]
    logprobs = [entry for one in choices if one["logprobs"] for entry in one["logprobs"]["content"]]
    assert logprobs == whole["logprobs"]["content"]


async def test_each_sample_is_read_by_itself(ask):
    reply = await ask(CALLS, tools=TOOLS, n=3)
    assert [len(one["message"]["tool_calls"]) for one in reply.json()["choices"]] == [2, 2, 2]
