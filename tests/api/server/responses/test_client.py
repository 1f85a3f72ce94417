"""OpenAI's own client, sync and async, creates, streams, parses, follows and cancels responses."""

from __future__ import annotations

import asyncio
import json

import openai
import pydantic
import pytest
from openai.types.responses import Response
from tests.api.server.conftest import ANSWER

WEATHER = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": True,
}
NEWS = {**WEATHER, "name": "news"}
CALLS = (
    '<tool_call>\n{"name": "weather", "arguments": {"city": "Köln"}}\n</tool_call>\n'
    '<tool_call>\n{"name": "news", "arguments": {"city": "Rome"}}\n</tool_call>'
)
THINKING = "<think>\nThe weather first.\n</think>\n\n"


@pytest.fixture
def client_of(serve):
    """OpenAI's client of a live server of a Service."""
    clients = []

    def connect(service) -> openai.OpenAI:
        clients.append(openai.OpenAI(base_url=f"{serve(service).url}/v1", api_key="none", max_retries=0))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


@pytest.fixture
def client(client_of, service):
    return client_of(service)


def test_whole(client, service, tokenizer):
    service.client.num_cached_tokens = 3
    response = client.responses.create(
        model="scripted", input="hello", instructions="Be brief.", metadata={"a": "b"}, temperature=0.5
    )
    assert response.output_text == ANSWER
    assert (response.status, response.error, response.incomplete_details) == ("completed", None, None)
    (item,) = response.output
    assert (item.type, item.role, item.status) == ("message", "assistant", "completed")
    assert (response.metadata, response.temperature) == ({"a": "b"}, 0.5)
    assert response.instructions == "Be brief."
    prompt = tokenizer.decode(service.client.requests[0].prompt_token_ids, skip_special_tokens=False)
    assert prompt == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"
    )
    usage = response.usage
    assert usage.input_tokens == len(service.client.requests[0].prompt_token_ids)
    assert usage.output_tokens == len(tokenizer.encode(ANSWER)) + 1
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens
    assert (usage.input_tokens_details.cached_tokens, usage.output_tokens_details.reasoning_tokens) == (3, 0)
    Response.model_validate(response.model_dump())  # every field the SDK's type asks for, of the right type


def test_stream(client):
    events = list(client.responses.create(model="scripted", input="hello", stream=True))
    assert [event.type for event in events if event.type != "response.output_text.delta"] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == ANSWER
    assert len(deltas) > 3
    assert events[0].response.status == "in_progress"
    assert events[0].response.output == []
    assert events[-1].response.output_text == ANSWER
    added = next(event for event in events if event.type == "response.output_item.added")
    assert (added.item.status, added.item.content) == ("in_progress", [])


def test_the_streaming_helper(client):
    with client.responses.stream(model="scripted", input="hello") as stream:
        assert "".join(one.delta for one in stream if one.type == "response.output_text.delta") == ANSWER
        assert stream.get_final_response().output_text == ANSWER


def test_reasoning_text_and_calls(client_of, answering):
    client = client_of(answering(THINKING + "Let me see.\n" + CALLS))
    response = client.responses.create(model="scripted", input="hello", tools=[WEATHER, NEWS])
    reasoning, message, *calls = response.output
    assert (reasoning.type, reasoning.summary, reasoning.content[0].text) == (
        "reasoning",
        [],
        "The weather first.",
    )
    assert message.content[0].text == "Let me see."
    assert [(call.name, json.loads(call.arguments)) for call in calls] == [
        ("weather", {"city": "Köln"}),
        ("news", {"city": "Rome"}),
    ]
    assert response.status == "completed"
    assert response.usage.output_tokens_details.reasoning_tokens > 3
    with client.responses.stream(model="scripted", input="hello", tools=[WEATHER, NEWS]) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    for kind in ("reasoning_text.delta", "reasoning_text.done", "function_call_arguments.delta"):
        assert f"response.{kind}" in kinds
    assert kinds.count("response.function_call_arguments.done") == 2
    strip = {"id", "call_id", "parsed_arguments"}

    def bare(response):
        return [
            {name: value for name, value in item.model_dump(exclude_none=True).items() if name not in strip}
            for item in response.output
        ]

    assert bare(final) == bare(response)


def test_a_round_with_tools_goes_on_from_the_output_as_it_came(client_of, answering):
    service = answering(THINKING + CALLS)
    client = client_of(service)
    first = client.responses.create(model="scripted", input="hello", tools=[WEATHER, NEWS])
    answers = [
        {"type": "function_call_output", "call_id": item.call_id, "output": "7 degrees"}
        for item in first.output
        if item.type == "function_call"
    ]
    turn = [{"role": "user", "content": "hello"}, *first.output, *answers]
    assert client.responses.create(model="scripted", input=turn, tools=[WEATHER, NEWS]).output
    prompt = service.session.tokenizer.decode(service.client.requests[-1].prompt_token_ids)
    assert prompt.count("7 degrees") == 2


def test_parse_gives_the_caller_s_own_type(client_of, answering):
    class City(pydantic.BaseModel):
        name: str
        people: int

    service = answering('{"name": "Rome", "people": 3}')
    client = client_of(service)
    response = client.responses.parse(model="scripted", input="hello", text_format=City)
    assert response.output_parsed == City(name="Rome", people=3)
    assert service.client.requests[0].constraint.grammar.kind == "json_schema"
    weather = openai.pydantic_function_tool(City)["function"]
    client = client_of(
        answering('<tool_call>\n{"name": "City", "arguments": {"name": "Rome", "people": 3}}\n</tool_call>')
    )
    tool = {"type": "function", **weather}
    response = client.responses.parse(model="scripted", input="hello", tools=[tool])
    assert response.output[0].parsed_arguments == {"name": "Rome", "people": 3}


def test_log_probabilities(client, service, tokenizer):
    fields = {"include": ["message.output_text.logprobs"], "top_logprobs": 2}
    response = client.responses.create(model="scripted", input="hello", **fields)
    logprobs = response.output[0].content[0].logprobs
    assert bytes(byte for entry in logprobs[:-1] for byte in entry.bytes).decode() == ANSWER
    assert all(len(entry.top_logprobs) == 2 for entry in logprobs)
    events = list(client.responses.create(model="scripted", input="hello", stream=True, **fields))
    deltas = [event for event in events if event.type == "response.output_text.delta"]
    assert [entry.token for event in deltas for entry in event.logprobs] == [
        entry.token for entry in logprobs
    ]


def test_cut_off_is_incomplete(client):
    response = client.responses.create(model="scripted", input="hello", max_output_tokens=2)
    assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert response.output[0].status == "incomplete"
    *_, last = client.responses.create(model="scripted", input="hello", max_output_tokens=2, stream=True)
    assert (last.type, last.response.status) == ("response.incomplete", "incomplete")


def test_an_error_inside_a_stream_is_a_failed_response(client, service):
    service.client.script = lambda _request, _index: [5, 5, -1]
    *_, last = client.responses.create(model="scripted", input="hello", stream=True)
    assert (last.type, last.response.error.code) == ("response.failed", "server_error")
    assert "0x" not in last.response.error.message
    with pytest.raises(openai.InternalServerError):
        client.responses.create(model="scripted", input="hello")


@pytest.mark.parametrize(
    ("change", "error", "param"),
    [
        ({"model": "gpt-4"}, openai.NotFoundError, "model"),
        ({"temperature": -1}, openai.BadRequestError, "temperature"),
        ({"store": True}, openai.BadRequestError, "store"),
        ({"previous_response_id": "resp_1"}, openai.NotFoundError, "previous_response_id"),
    ],
)
def test_errors_are_the_client_s_own_classes(change, error, param, client):
    with pytest.raises(error) as caught:
        client.responses.create(**{"model": "scripted", "input": "hello", **change})
    assert caught.value.param == param


async def test_twenty_async_streams_at_once(live, tokenizer):
    live.engine.script = lambda request, _index: tokenizer.encode(f"answer {request.seed}")

    async def ask(client, number):
        stream = await client.responses.create(
            model="scripted", input="hello", stream=True, extra_body={"seed": number}
        )
        return "".join([event.delta async for event in stream if event.type == "response.output_text.delta"])

    async with openai.AsyncOpenAI(base_url=f"{live.url}/v1", api_key="none") as client:
        texts = await asyncio.gather(*(ask(client, number) for number in range(20)))
    assert texts == [f"answer {number}" for number in range(20)]
