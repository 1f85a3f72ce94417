"""Responses and messages on the built-in model, by the SDKs: meaning, tools, thinking, schemas, a killed engine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import anthropic
import openai
import pytest

from tests.e2e.conftest import ServerProcess

MODEL = "quire-folio"
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 12}},
    "required": ["name"],
    "additionalProperties": False,
}
PHONE = {
    "type": "function",
    "name": "get_phone",
    "description": "Find the phone number of a person.",
    "parameters": SCHEMA,
}
PHONE_TOOL = {"name": "get_phone", "description": PHONE["description"], "input_schema": SCHEMA}
ASK_PHONE = "Find the phone number of Mia."
ASK_SUM = "What is 41-33?"
STORY = {"input": "Tell me a story about a fox.", "max_output_tokens": 400}
EXTRA = {"temperature": 0, "ignore_eos": True}
THINKING = {"chat_template_kwargs": {"enable_thinking": True}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that stores responses, for this file alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_ENABLE_RESPONSES_API_STORE", "1")
        running = ServerProcess(tmp_path_factory.mktemp("dialogs") / "log.txt")
    with running:
        yield running


@pytest.fixture
def client(server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.base_url}/v1", api_key="none", max_retries=0) as made:
        yield made


@pytest.fixture
def claude(server) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=server.base_url, api_key="none", max_retries=0) as made:
        yield made


def say(claude: anthropic.Anthropic, text: str, **fields) -> anthropic.types.Message:
    extra = {"temperature": 0, **fields.pop("extra", {})}
    turn = [{"role": "user", "content": text}]
    return claude.messages.create(model=MODEL, max_tokens=300, messages=turn, extra_body=extra, **fields)


def test_both_say_what_chat_says(client, claude):
    chat = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": ASK_SUM}], temperature=0, max_tokens=300
    )
    response = client.responses.create(model=MODEL, input=ASK_SUM, temperature=0)
    assert response.output_text == chat.choices[0].message.content == say(claude, ASK_SUM).content[0].text
    assert response.usage.total_tokens == chat.usage.total_tokens


def test_a_round_with_a_tool(client, claude):
    response = client.responses.create(model=MODEL, input=ASK_PHONE, tools=[PHONE], temperature=0)
    (call,) = response.output
    assert (call.name, json.loads(call.arguments)) == ("get_phone", {"name": "Mia"})
    answer = {"type": "function_call_output", "call_id": call.call_id, "output": '{"phone": "555-0199"}'}
    response = client.responses.create(
        model=MODEL, previous_response_id=response.id, input=[answer], tools=[PHONE], temperature=0
    )
    assert "phone number of Mia is 555" in response.output_text
    message = say(claude, ASK_PHONE, tools=[PHONE_TOOL])
    (use,) = message.content
    assert (use.name, use.input, message.stop_reason) == ("get_phone", {"name": "Mia"}, "tool_use")
    turn = [
        {"role": "user", "content": ASK_PHONE},
        {"role": "assistant", "content": message.content},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": use.id, "content": '{"phone": "555-0199"}'}],
        },
    ]
    answer = claude.messages.create(
        model=MODEL, max_tokens=300, messages=turn, tools=[PHONE_TOOL], extra_body={"temperature": 0}
    )
    assert answer.content[0].text == response.output_text


def test_a_forced_tool_and_a_schema(client, claude):
    forced = say(claude, "Hello!", tools=[PHONE_TOOL], tool_choice={"type": "tool", "name": "get_phone"})
    assert forced.content[0].input.keys() == {"name"}
    output = {"format": {"type": "json_schema", "schema": SCHEMA}}
    assert json.loads(say(claude, "Tell me about Mia.", output_config=output).content[-1].text).keys() == {
        "name"
    }
    text = {"format": {"type": "json_schema", "name": "girl", "schema": SCHEMA}}
    response = client.responses.create(model=MODEL, input="Tell me about Mia.", text=text, temperature=0)
    assert json.loads(response.output_text).keys() == {"name"}


def test_thinking(client, claude):
    response = client.responses.create(model=MODEL, input=ASK_SUM, temperature=0, extra_body=THINKING)
    reasoning, text = response.output
    assert reasoning.content[0].text
    assert "8" in text.content[0].text
    assert 0 < response.usage.output_tokens_details.reasoning_tokens < response.usage.output_tokens
    message = say(claude, ASK_SUM, thinking={"type": "adaptive"})
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert message.content[0].thinking == reasoning.content[0].text
    assert [block.type for block in say(claude, ASK_SUM, thinking={"type": "disabled"}).content] == ["text"]
    bounded = say(claude, ASK_SUM, thinking={"type": "enabled", "budget_tokens": 4})
    assert [block.type for block in bounded.content] == ["thinking", "text"]
    assert 0 < bounded.usage.output_tokens_details.thinking_tokens <= 4
    assert message.content[0].thinking.startswith(bounded.content[0].thinking)


async def told(client: openai.AsyncOpenAI) -> str:
    events = await client.responses.create(
        model=MODEL, **STORY, temperature=0, stream=True, extra_body={"ignore_eos": True}
    )
    return "".join([event.delta async for event in events if event.type == "response.output_text.delta"])


async def spoken(client: anthropic.AsyncAnthropic) -> str:
    turn = [{"role": "user", "content": STORY["input"]}]
    async with client.messages.stream(model=MODEL, max_tokens=400, messages=turn, extra_body=EXTRA) as stream:
        return await stream.get_final_text()


async def test_streams_and_background_responses_outlive_a_killed_engine(server):
    """The HTTP replies go on, equal to undisturbed ones."""
    async with (
        openai.AsyncOpenAI(base_url=f"{server.base_url}/v1", api_key="none", timeout=60) as client,
        anthropic.AsyncAnthropic(base_url=server.base_url, api_key="none", timeout=60) as claude,
    ):
        expected = await told(client)
        assert await spoken(claude) == expected
        made = await client.responses.create(
            model=MODEL, **STORY, temperature=0, background=True, extra_body={"ignore_eos": True}
        )
        crowd = [asyncio.create_task(told(client)), asyncio.create_task(spoken(claude))]
        await asyncio.to_thread(server.kill_engine, after_tokens=30)
        assert await asyncio.gather(*crowd) == [expected, expected]
        events = [event async for event in await client.responses.retrieve(made.id, stream=True)]
        assert events[-1].response.output_text == expected
        assert (await client.responses.retrieve(made.id)).output_text == expected
    await asyncio.to_thread(server.wait_metric, "vllm:num_requests_running", 0)


async def test_leaving_and_cancelling_free_the_engine(server):
    long = {"model": MODEL, "input": "Tell me a story about a fox.", "max_output_tokens": 1500}
    async with (
        openai.AsyncOpenAI(base_url=f"{server.base_url}/v1", api_key="none") as client,
        anthropic.AsyncAnthropic(base_url=server.base_url, api_key="none") as claude,
    ):
        turn = [{"role": "user", "content": long["input"]}]
        async with claude.messages.stream(
            model=MODEL, max_tokens=1500, messages=turn, extra_body=EXTRA
        ) as stream:
            async for _ in stream.text_stream:
                break
        made = await client.responses.create(**long, background=True, extra_body={"ignore_eos": True})
        assert (await client.responses.cancel(made.id)).status == "cancelled"
    await asyncio.to_thread(server.wait_metric, "vllm:num_requests_running", 0, 2.0)
    assert await asyncio.to_thread(server.metric, "vllm:kv_cache_usage_perc") == 0
