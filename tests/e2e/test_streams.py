"""Real clients against a real server: the same tokens whatever else is in the batch, and nothing held afterwards."""

from __future__ import annotations

import asyncio
import os
import signal

import openai
import pytest
from tools.reliability.streams import Reply, ask, mixed_bodies

from tests.e2e.conftest import ServerProcess

MODEL = "quire-folio"
PROMPTS = [
    "What is 12 + 30?",
    "Tell me a story about a fox.",
    "What is the capital of France?",
    "Reverse this list: apple, moon, river, stone",
    "Tell me a story about a girl and a boat, please. " * 6,
]


def wishes(number: int) -> dict:
    """Request number `number` of a mixed crowd: lengths, temperatures and seeds all differ."""
    return {
        "model": MODEL,
        "messages": [{"role": "user", "content": f"{PROMPTS[number % len(PROMPTS)]} ({number})"}],
        "max_tokens": 5 + 7 * (number % 9),
        "temperature": 0.0 if number % 2 else 0.9,
        "top_p": 1.0 if number % 3 else 0.9,
        "seed": number,
        "logprobs": True,
        "extra_body": {"ignore_eos": number % 4 == 0},
    }


async def collect(client: openai.AsyncOpenAI, number: int) -> tuple[str, list[float], str]:
    text, logprobs, reason = "", [], ""
    async for chunk in await client.chat.completions.create(stream=True, **wishes(number)):
        for choice in chunk.choices:
            text += choice.delta.content or ""
            if choice.logprobs:
                logprobs += [entry.logprob for entry in choice.logprobs.content]
            reason = choice.finish_reason or reason
    return text, logprobs, reason


@pytest.mark.timeout(300)
async def test_64_concurrent_streams_equal_their_solo_runs(server):
    async with openai.AsyncOpenAI(base_url=f"{server.base_url}/v1", api_key="none", timeout=120) as client:
        crowd = await asyncio.gather(*(collect(client, number) for number in range(64)))
        server.wait_metric("vllm:num_requests_running", 0)
        server.wait_metric("vllm:kv_cache_usage_perc", 0)
        for number in range(64):
            alone = await collect(client, number)
            assert crowd[number] == alone, f"stream {number} differs from its solo run"
        assert {reason for _, _, reason in crowd} <= {"stop", "length"}


async def test_streams_outlive_a_killed_engine(server):
    """The same HTTP replies go on, byte-equal to undisturbed ones."""
    async with openai.AsyncOpenAI(base_url=f"{server.base_url}/v1", api_key="none", timeout=120) as client:
        expected = await asyncio.gather(*(collect(client, number) for number in range(16)))
        crowd = [asyncio.create_task(collect(client, number)) for number in range(16)]
        await asyncio.to_thread(server.kill_engine, after_tokens=50)
        assert await asyncio.gather(*crowd) == expected
    await asyncio.to_thread(server.wait_metric, "vllm:num_requests_running", 0)


async def test_mixed_streams_outlive_two_kills(tmp_path):
    """Tools, JSON mode, several samples, log-probabilities; the second kill strikes while the first is mended."""
    server = ServerProcess(tmp_path / "log.txt")

    async def all_at_once() -> list[Reply]:
        bodies = mixed_bodies(16, 60)
        return await asyncio.gather(*(ask(server.port, path, body) for path, body in bodies))

    try:
        server.wait_ready()
        calm = await all_at_once()
        assert all(reply.is_whole for reply in calm), [reply.error for reply in calm]
        before = server.metric("vllm:generation_tokens_total")
        crowd = asyncio.create_task(all_at_once())
        while await asyncio.to_thread(server.metric, "vllm:generation_tokens_total") < before + 50:
            pass
        killed: set[int] = set()
        while len(killed) < 2:
            for engine in set(server.children()) - killed:
                os.kill(engine, signal.SIGKILL)
                killed.add(engine)
            await asyncio.sleep(0.005)
        replies = await crowd
        assert [(reply.is_whole, reply.choices) for reply in replies] == [
            (True, reply.choices) for reply in calm
        ]
        assert server.log.read_text().count("ended unexpectedly") == 2
    finally:
        server.stop()


async def test_a_stream_says_what_the_whole_reply_says(server):
    async with openai.AsyncOpenAI(base_url=f"{server.base_url}/v1", api_key="none") as client:
        text, logprobs, reason = await collect(client, 3)
        whole = await client.chat.completions.create(**wishes(3))
    assert whole.choices[0].message.content == text
    assert [entry.logprob for entry in whole.choices[0].logprobs.content] == logprobs
    assert whole.choices[0].finish_reason == reason


async def test_leaving_early_frees_the_blocks(server):
    async with openai.AsyncOpenAI(base_url=f"{server.base_url}/v1", api_key="none") as client:
        stream = await client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": "Tell me a story about a fox."}],
            max_tokens=1500,
            stream=True,
            extra_body={"ignore_eos": True},
        )
        async for _ in stream:
            break
        assert await asyncio.to_thread(server.metric, "vllm:num_requests_running") == 1
        await stream.close()
        await asyncio.to_thread(server.wait_metric, "vllm:num_requests_running", 0, 2.0)
        assert await asyncio.to_thread(server.metric, "vllm:kv_cache_usage_perc") == 0


async def test_a_repeated_prompt_reports_cached_tokens(server):
    async with openai.AsyncOpenAI(base_url=f"{server.base_url}/v1", api_key="none") as client:
        asked = {
            "model": MODEL,
            "messages": [{"role": "user", "content": "Sort these words: " + "pear fig " * 20}],
        }
        await client.chat.completions.create(max_tokens=2, **asked)
        again = await client.chat.completions.create(max_tokens=2, **asked)
    assert again.usage.prompt_tokens_details.cached_tokens > 16


async def test_n_samples_differ_by_index_and_repeat_by_seed(server):
    async with openai.AsyncOpenAI(base_url=f"{server.base_url}/v1", api_key="none") as client:
        asked = {
            "model": MODEL,
            "messages": [{"role": "user", "content": "Tell me a story about a king."}],
            "n": 4,
            "seed": 11,
            "temperature": 1.0,
            "max_tokens": 30,
        }
        first = await client.chat.completions.create(**asked)
        second = await client.chat.completions.create(**asked)
        alone = await client.chat.completions.create(**{**asked, "n": 1})
    texts = [choice.message.content for choice in first.choices]
    assert [choice.index for choice in first.choices] == [0, 1, 2, 3]
    assert len(set(texts)) > 1
    assert texts == [choice.message.content for choice in second.choices]
    assert texts[0] == alone.choices[0].message.content
