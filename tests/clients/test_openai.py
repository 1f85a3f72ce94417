"""`openai`: both clients, its streaming helper, and `parse`."""

from __future__ import annotations

import asyncio
from typing import Literal

import pydantic
import pytest

from tests.clients.conftest import ASK_PHONE, MODEL, PHONE, SUM

openai = pytest.importorskip("openai", reason="openai is not installed")


class Person(pydantic.BaseModel):
    name: Literal["Mia", "Tom"]
    age: int


class get_phone(pydantic.BaseModel):
    """Find the phone number of a person."""

    name: str


@pytest.fixture
def client(url):
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as made:
        yield made


def test_the_helper_streams_events_and_keeps_the_whole(client):
    with client.chat.completions.stream(model=MODEL, messages=SUM, temperature=0) as stream:
        events = list(stream)
    whole = stream.get_final_completion()
    assert (
        "".join(event.delta for event in events if event.type == "content.delta")
        == whole.choices[0].message.content
    )
    assert "8" in whole.choices[0].message.content
    assert events[-1].type == "content.done" or whole.choices[0].finish_reason == "stop"


def test_the_helper_parses_a_schema_while_it_streams(client):
    with client.chat.completions.stream(
        model=MODEL, messages=SUM, response_format=Person, temperature=0
    ) as stream:
        for _ in stream:
            pass
    assert isinstance(stream.get_final_completion().choices[0].message.parsed, Person)


def test_parse_reads_tool_arguments(client):
    reply = client.chat.completions.parse(
        model=MODEL,
        messages=ASK_PHONE,
        tools=[openai.pydantic_function_tool(get_phone)],
        tool_choice="required",
        temperature=0,
    )
    (call,) = reply.choices[0].message.tool_calls
    assert call.function.parsed_arguments == get_phone(name="Mia")


def test_the_helper_streams_tool_arguments(client):
    with client.chat.completions.stream(
        model=MODEL, messages=ASK_PHONE, tools=[PHONE], temperature=0
    ) as stream:
        kinds = {event.type for event in stream}
    assert "tool_calls.function.arguments.done" in kinds
    (call,) = stream.get_final_completion().choices[0].message.tool_calls
    assert call.function.name == "get_phone"


async def test_many_async_streams(url):
    async def one(client, number: int) -> str:
        stream = await client.completions.create(
            model=MODEL, prompt=f"{number} is", max_tokens=8, stream=True
        )
        return "".join([chunk.choices[0].text async for chunk in stream if chunk.choices])

    async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
        texts = await asyncio.gather(*(one(client, number) for number in range(16)))
    assert all(texts)
