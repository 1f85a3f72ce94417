"""AsyncLLM: streams from an engine process, and everything its administrator can do."""

from __future__ import annotations

import asyncio

import pytest

import quire
from quire import LLM, AsyncLLM, SamplingParams
from quire.base.errors import ConfigError, EngineAsleep, EngineDead, InvalidValue, Unsupported
from tests.model.tiny import tiny_checkpoint

GREEDY = SamplingParams(temperature=0.0, max_tokens=12, ignore_eos=True)
LONG = SamplingParams(temperature=0.0, max_tokens=400, ignore_eos=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_checkpoint("qwen3", tmp_path_factory.mktemp("tiny"))


@pytest.fixture
async def llm(folder):
    llm = AsyncLLM.from_engine_args(
        {"model": str(folder), "num_gpu_blocks_override": 64, "enable_sleep_mode": True}
    )
    yield llm
    await llm.shutdown()


async def last(llm, prompt, params=GREEDY, **more):
    return [output async for output in llm.generate(prompt, params, **more)][-1]


async def test_streams_say_what_the_offline_entry_says(llm, folder):
    offline = LLM(str(folder), num_gpu_blocks_override=64)
    prompts = ["one", "two pages", {"prompt_token_ids": [5, 6, 7]}]
    outputs = await asyncio.gather(*(last(llm, prompt) for prompt in prompts))
    for output, expected in zip(outputs, offline.generate(prompts, GREEDY, use_tqdm=False), strict=True):
        assert output.finished and output.outputs[0].token_ids == expected.outputs[0].token_ids
        assert output.prompt == expected.prompt
    assert len((await last(llm, "x", None)).outputs[0].token_ids) <= 16
    assert quire.AsyncLLMEngine is AsyncLLM


async def test_requests_end_by_name_and_by_leaving(llm):
    stream = llm.generate("a", LONG, "mine")
    await anext(stream)
    await llm.abort("mine")
    rest = [output async for output in stream]
    assert rest[-1].outputs[0].finish_reason == "abort"
    other = llm.generate("a", LONG, "left")
    await anext(other)
    await other.aclose()
    assert (await last(llm, "b")).finished
    assert llm._client.request_ids() == []


async def test_it_pauses_sleeps_and_resets(llm):
    before = (await last(llm, "a page")).outputs[0].token_ids
    await llm.pause_generation()
    assert await llm.is_paused()
    waiting = asyncio.create_task(last(llm, "a page"))
    await asyncio.sleep(0.02)
    assert not waiting.done()
    await llm.resume_generation()
    assert (await waiting).outputs[0].token_ids == before and not await llm.is_paused()
    await llm.sleep(level=1)
    assert await llm.is_sleeping()
    with pytest.raises(EngineAsleep):
        await last(llm, "a page")
    await llm.wake_up(tags=["weights", "kv_cache"])
    assert (await last(llm, "a page")).outputs[0].token_ids == before
    assert await llm.reset_prefix_cache() is True
    await llm.release_kv_cache_memory()
    assert (await last(llm, "a page")).outputs[0].token_ids == before
    with pytest.raises(InvalidValue, match="no public method"):
        await llm.collective_rpc("nothing")
    with pytest.raises(InvalidValue, match="--profiler-config"):
        await llm.start_profile()


async def test_what_cannot_be_is_refused_before_it_is_sent(llm):
    with pytest.raises(InvalidValue) as refused:
        await last(llm, {"cache_salt": "a"})
    assert refused.value.field == "prompt"
    with pytest.raises(Unsupported, match=r"^text of a prompt dict is not supported"):
        await last(llm, {"text": "a"})
    with pytest.raises(ConfigError, match="max_num_seqs"):
        AsyncLLM(max_num_seq=3)


async def test_after_the_end_it_says_so(folder):
    llm = AsyncLLM(str(folder), num_gpu_blocks_override=64)
    await last(llm, "a")
    await llm.check_health()
    await llm.shutdown()
    with pytest.raises(EngineDead):
        await llm.check_health()
    with pytest.raises(EngineDead):
        await last(llm, "a")
    unused = AsyncLLM(str(folder), num_gpu_blocks_override=64)
    await unused.shutdown()
