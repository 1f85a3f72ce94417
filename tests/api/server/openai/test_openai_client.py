"""OpenAI's own client, sync and async, over a real socket."""

from __future__ import annotations

import asyncio

import openai
import pytest
from tests.api.server.conftest import ANSWER

HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture
def client(live):
    with openai.OpenAI(base_url=f"{live.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def test_models(client):
    assert [model.id for model in client.models.list()] == ["scripted", "alias"]
    assert client.models.retrieve("alias").id == "alias"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")


def test_chat_whole(client):
    reply = client.chat.completions.create(
        model="scripted", messages=HELLO, n=2, logprobs=True, top_logprobs=2, seed=1, stop=["zzz"]
    )
    assert [choice.message.content for choice in reply.choices] == [ANSWER] * 2
    assert [choice.finish_reason for choice in reply.choices] == ["stop"] * 2
    entry = reply.choices[1].logprobs.content[0]
    assert len(entry.top_logprobs) == 2
    assert bytes(entry.bytes).decode() == entry.token
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens


def test_chat_streamed(client):
    stream = client.chat.completions.create(
        model="scripted", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    *chunks, last = list(stream)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == ANSWER
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert last.choices == []
    assert last.usage.completion_tokens > 3


def test_completions(client, tokenizer):
    reply = client.completions.create(
        model="scripted", prompt=["one", "two"], max_tokens=50, echo=True, logprobs=1
    )
    assert [choice.text for choice in reply.choices] == ["one" + ANSWER, "two" + ANSWER]
    assert reply.choices[0].logprobs.token_logprobs[0] is None
    stream = client.completions.create(model="scripted", prompt=[5, 6], max_tokens=50, stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream) == ANSWER


@pytest.mark.parametrize(
    ("change", "error", "param"),
    [
        ({"model": "gpt-4"}, openai.NotFoundError, "model"),
        ({"temperature": -1}, openai.BadRequestError, "temperature"),
        ({"messages": [{"role": "user", "content": "word " * 400}]}, openai.BadRequestError, "messages"),
        ({"extra_body": {"top_kk": 1}}, openai.BadRequestError, "top_kk"),
    ],
)
def test_errors_are_the_client_s_own_classes(change, error, param, client):
    with pytest.raises(error) as caught:
        client.chat.completions.create(**{"model": "scripted", "messages": HELLO, **change})
    assert caught.value.param == param


def test_an_error_inside_a_stream_is_raised(client, live):
    live.engine.script = lambda _request, _index: [5, 5, -1]
    with pytest.raises(openai.APIError) as caught:
        list(client.chat.completions.create(model="scripted", messages=HELLO, stream=True))
    assert caught.value.code == "generation_failed"


def test_a_wrong_key_is_an_authentication_error(make_service, serve):
    live = serve(make_service(api_keys=["right"]))
    with openai.OpenAI(base_url=f"{live.url}/v1", api_key="right") as client:
        assert client.models.list().data
    wrong = openai.OpenAI(base_url=f"{live.url}/v1", api_key="wrong")
    with wrong as client, pytest.raises(openai.AuthenticationError):
        client.models.list()


async def test_forty_async_streams_at_once(live, tokenizer):
    live.engine.script = lambda request, _index: tokenizer.encode(f"answer {request.seed}")

    async def ask(client, number):
        stream = await client.chat.completions.create(
            model="scripted", messages=HELLO, stream=True, seed=number
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async with openai.AsyncOpenAI(base_url=f"{live.url}/v1", api_key="none") as client:
        texts = await asyncio.gather(*(ask(client, number) for number in range(40)))
    assert texts == [f"answer {number}" for number in range(40)]
