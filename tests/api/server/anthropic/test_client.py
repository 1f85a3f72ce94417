"""Anthropic's own client, sync and async, creates, streams and counts messages, and goes round with tools."""

from __future__ import annotations

import asyncio

import anthropic
import pydantic
import pytest
from anthropic.types import Message
from tests.api.server.conftest import ANSWER

HELLO = [{"role": "user", "content": "hello"}]
TOOLS = [
    {
        "name": name,
        "description": f"Look up the {name}.",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
    }
    for name in ("weather", "news")
]
CALLS = (
    '<tool_call>\n{"name": "weather", "arguments": {"city": "Köln"}}\n</tool_call>\n'
    '<tool_call>\n{"name": "news", "arguments": {"city": "Rome"}}\n</tool_call>'
)
THINKING = "<think>\nThe weather first.\n</think>\n\n"
ASK = {"model": "scripted", "max_tokens": 200, "messages": HELLO}


@pytest.fixture
def client_of(serve):
    """Anthropic's client of a live server of a Service."""
    clients = []

    def connect(service, key: str = "none") -> anthropic.Anthropic:
        clients.append(anthropic.Anthropic(base_url=serve(service).url, api_key=key, max_retries=0))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


@pytest.fixture
def client(client_of, service):
    return client_of(service)


def test_whole(client, service, tokenizer):
    service.client.num_cached_tokens = 3
    message = client.messages.create(
        **ASK, system="Be brief.", metadata={"user_id": "me"}, extra_body={"temperature": 0.5, "top_k": 5}
    )
    (block,) = message.content
    assert (block.type, block.text) == ("text", ANSWER)
    assert (message.type, message.role, message.model) == ("message", "assistant", "scripted")
    assert (message.stop_reason, message.stop_sequence) == ("end_turn", None)
    sent = service.client.requests[0]
    assert (sent.sampling.temperature, sent.sampling.top_k, sent.sampling.max_tokens) == (0.5, 5, 200)
    prompt = tokenizer.decode(sent.prompt_token_ids, skip_special_tokens=False)
    assert prompt == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"
    )
    usage = message.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens) == (len(sent.prompt_token_ids) - 3, 3)
    assert usage.output_tokens == len(tokenizer.encode(ANSWER)) + 1
    Message.model_validate(message.model_dump())  # every field the SDK's type asks for, of the right type


def test_stream(client):
    events = list(client.messages.create(**ASK, stream=True))
    assert [event.type for event in events if event.type != "content_block_delta"] == [
        "message_start",
        "content_block_start",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    deltas = [event.delta.text for event in events if event.type == "content_block_delta"]
    assert "".join(deltas) == ANSWER
    assert len(deltas) > 3
    assert (events[0].message.content, events[0].message.stop_reason) == ([], None)
    assert events[0].message.usage.input_tokens > 3
    assert events[-2].delta.stop_reason == "end_turn"
    assert events[-2].usage.output_tokens > 3


def test_the_streaming_helper(client):
    with client.messages.stream(**ASK) as stream:
        assert "".join(stream.text_stream) == ANSWER
        final = stream.get_final_message()
    whole = client.messages.create(**ASK)
    assert final.content[0].text == whole.content[0].text
    assert (final.stop_reason, final.usage) == (whole.stop_reason, whole.usage)


def test_thinking_text_and_calls(client_of, answering):
    client = client_of(answering(THINKING + "Let me see.\n" + CALLS))
    fields = {**ASK, "tools": TOOLS}
    message = client.messages.create(**fields)
    thinking, text, *uses = message.content
    assert (thinking.type, thinking.thinking) == ("thinking", "The weather first.")
    assert thinking.signature
    assert text.text == "Let me see."
    assert [(use.name, use.input) for use in uses] == [
        ("weather", {"city": "Köln"}),
        ("news", {"city": "Rome"}),
    ]
    assert message.stop_reason == "tool_use"
    assert message.usage.output_tokens_details.thinking_tokens > 3
    with client.messages.stream(**fields) as stream:
        kinds = {event.delta.type for event in stream if event.type == "content_block_delta"}
        final = stream.get_final_message()
    assert kinds == {"thinking_delta", "signature_delta", "text_delta", "input_json_delta"}

    def bare(message):
        return [
            block.model_dump(exclude={"id", "parsed_output"}, exclude_none=True) for block in message.content
        ]

    assert bare(final) == bare(message)


def test_a_round_with_tools_goes_on_from_the_content_as_it_came(client_of, answering):
    service = answering(THINKING + CALLS)
    client = client_of(service)
    first = client.messages.create(**ASK, tools=TOOLS)
    uses = [block for block in first.content if block.type == "tool_use"]
    results = [
        {"type": "tool_result", "tool_use_id": uses[0].id, "content": "7 degrees"},
        {
            "type": "tool_result",
            "tool_use_id": uses[1].id,
            "content": [{"type": "text", "text": "no such city"}],
            "is_error": True,
        },
        {"type": "text", "text": "Go on."},
    ]
    turn = [*HELLO, {"role": "assistant", "content": first.content}, {"role": "user", "content": results}]
    assert client.messages.create(**{**ASK, "messages": turn}, tools=TOOLS).content
    prompt = service.session.tokenizer.decode(
        service.client.requests[-1].prompt_token_ids, skip_special_tokens=False
    )
    assert (
        "<|im_start|>tool\n7 degrees<|im_end|>\n<|im_start|>tool\nError: no such city<|im_end|>\n" in prompt
    )
    assert prompt.endswith("<|im_start|>user\nGo on.<|im_end|>\n<|im_start|>assistant\n")


def test_parse_gives_the_caller_s_own_type(client_of, answering):
    class City(pydantic.BaseModel):
        name: str
        people: int

    service = answering('{"name": "Rome", "people": 3}')
    client = client_of(service)
    assert client.messages.parse(**ASK, output_format=City).parsed_output == City(name="Rome", people=3)
    assert service.client.requests[0].constraint.grammar.kind == "json_schema"


def test_counting(client, service, tokenizer):
    fields = {"model": "scripted", "messages": HELLO, "system": "Be brief."}
    counted = client.messages.count_tokens(**fields)
    message = client.messages.create(**fields, max_tokens=10)
    assert (
        counted.input_tokens == message.usage.input_tokens == len(service.client.requests[0].prompt_token_ids)
    )
    assert len(service.client.requests) == 1


@pytest.mark.parametrize(
    ("text", "fields", "expected"),
    [
        (ANSWER, {"max_tokens": 2}, ("max_tokens", None)),
        (ANSWER, {"stop_sequences": ["zz", "orld"]}, ("stop_sequence", "orld")),
        (CALLS, {"tools": TOOLS}, ("tool_use", None)),
        ("word " * 2000, {"max_tokens": 20_000}, ("model_context_window_exceeded", None)),
    ],
)
def test_why_it_stopped(text, fields, expected, client_of, answering):
    message = client_of(answering(text)).messages.create(**{**ASK, **fields})
    assert (message.stop_reason, message.stop_sequence) == expected


def test_a_prefill_is_gone_on_with(client, service, tokenizer):
    turn = [*HELLO, {"role": "assistant", "content": "one two"}]
    client.messages.create(**{**ASK, "messages": turn})
    prompt = tokenizer.decode(service.client.requests[0].prompt_token_ids, skip_special_tokens=False)
    assert prompt.endswith("<|im_start|>assistant\none two")


@pytest.mark.parametrize(
    ("choice", "is_forced", "names"),
    [
        ({"type": "auto"}, False, ["weather", "news"]),
        ({"type": "auto", "disable_parallel_tool_use": True}, False, ["weather"]),
        ({"type": "any"}, True, ["weather", "news"]),
        ({"type": "tool", "name": "weather"}, True, ["weather"]),
        ({"type": "none"}, False, []),
    ],
)
def test_tool_choice(choice, is_forced, names, client_of, answering):
    text = CALLS if len(names) != 1 or not is_forced else CALLS.split("\n<tool_call>")[0]
    service = answering(text)
    message = client_of(service).messages.create(**ASK, tools=TOOLS, tool_choice=choice)
    assert [block.name for block in message.content if block.type == "tool_use"] == names
    assert (service.client.requests[0].constraint is not None) == is_forced
    prompt = service.session.tokenizer.decode(service.client.requests[0].prompt_token_ids)
    assert ("Look up" in prompt) == (choice["type"] != "none")


def test_thinking_is_shown_or_not(client_of, answering):
    client = client_of(answering(THINKING + "Sunny."))

    def kinds(**thinking):
        return [block.type for block in client.messages.create(**ASK, thinking=thinking).content]

    assert kinds(type="adaptive") == ["thinking", "text"]
    assert kinds(type="adaptive", display="omitted") == ["text"]
    assert kinds(type="disabled") == ["text"]


@pytest.mark.parametrize(
    ("change", "error", "kind", "words"),
    [
        ({"model": "claude"}, anthropic.NotFoundError, "not_found_error", "claude"),
        (
            {"extra_body": {"temperature": -1}},
            anthropic.BadRequestError,
            "invalid_request_error",
            "temperature",
        ),
        ({"extra_body": {"top_kk": 1}}, anthropic.BadRequestError, "invalid_request_error", "top_kk"),
    ],
)
def test_errors_are_the_client_s_own_classes(change, error, kind, words, client):
    with pytest.raises(error, match=words) as caught:
        client.messages.create(**{**ASK, **change})
    assert caught.value.body["type"] == "error"
    assert caught.value.body["error"]["type"] == kind
    assert caught.value.body["request_id"]


def test_an_error_inside_a_stream_is_raised(client, service):
    service.client.script = lambda _request, _index: [5, 5, -1]
    with pytest.raises(anthropic.APIStatusError) as caught:
        list(client.messages.create(**ASK, stream=True))
    assert caught.value.body["error"]["type"] == "api_error"
    with pytest.raises(anthropic.InternalServerError):
        client.messages.create(**ASK)


def test_its_key_header_opens_and_a_wrong_one_does_not(client_of, make_service):
    service = make_service(api_keys=["right"])
    assert client_of(service, "right").messages.create(**ASK).content
    with pytest.raises(anthropic.AuthenticationError) as caught:
        client_of(service, "wrong").messages.create(**ASK)
    assert caught.value.body["error"]["type"] == "authentication_error"


async def test_twenty_async_streams_at_once(live, tokenizer):
    live.engine.script = lambda request, _index: tokenizer.encode(f"answer {request.seed}")

    async def ask(client, number):
        async with client.messages.stream(**ASK, extra_body={"seed": number}) as stream:
            return await stream.get_final_text()

    async with anthropic.AsyncAnthropic(base_url=live.url, api_key="none") as client:
        texts = await asyncio.gather(*(ask(client, number) for number in range(20)))
    assert texts == [f"answer {number}" for number in range(20)]
