"""Asks: carried out between steps, answered once; settled with an error when the engine ends."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from quire.base.commands import ResetPrefixes
from quire.base.errors import CommandFailed, EngineDead
from quire.engine.client import EngineState, InProcessClient, ProcessClient
from tests.engine.client.test_process_client import read, wish
from tests.model.tiny import engine_config, tiny_checkpoint

PROMPT = list(range(5, 45))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint("qwen3", tmp_path_factory.mktemp("tiny"))


@pytest.fixture
async def client(folder):
    client = ProcessClient(engine_config(folder))
    await client.connect()
    yield client
    await client.shutdown()


async def num_cached_tokens(client: ProcessClient, number: int) -> int:
    return (await read(client, wish(number, PROMPT)))[-1].num_cached_tokens


async def test_a_command_takes_effect_and_is_answered(client):
    assert await num_cached_tokens(client, 0) == 0
    assert await num_cached_tokens(client, 1) == 32
    assert await client.ask(ResetPrefixes()) is True
    assert await num_cached_tokens(client, 2) == 0


async def test_asks_between_the_steps_of_a_stream_leave_it_as_it_is(client):
    alone = await read(client, wish(1, PROMPT, max_tokens=30))
    stream = client.submit(wish(1, PROMPT, max_tokens=30))
    events = list(await anext(stream))
    for with_running in (False, True, True):
        assert await client.ask(ResetPrefixes(with_running=with_running)) is True
    events += [event async for batch in stream for event in batch]
    assert [t for e in events for t in e.token_ids] == [t for e in alone for t in e.token_ids]


async def test_an_ask_to_an_engine_that_ends_is_settled_and_the_next_engine_answers(client):
    os.kill(client.pid, signal.SIGSTOP)
    asks = [asyncio.create_task(client.ask(ResetPrefixes())) for _ in range(3)]
    await asyncio.sleep(0)
    asks[0].cancel()
    os.kill(client.pid, signal.SIGKILL)
    ends = await asyncio.gather(*asks, return_exceptions=True)
    assert isinstance(ends[0], asyncio.CancelledError)
    assert all(isinstance(end, CommandFailed) and "ask again" in str(end) for end in ends[1:])
    assert await client.ask(ResetPrefixes()) is True  # waits until the new one is loaded
    assert client.num_restarts == 1 and client.state is EngineState.READY


async def test_an_engine_that_hangs_over_a_command_is_replaced(client):
    os.kill(client.pid, signal.SIGSTOP)
    with pytest.raises(CommandFailed, match="ask again"):
        await asyncio.wait_for(client.ask(ResetPrefixes()), 10)
    assert client.num_restarts == 1


async def test_an_answer_is_waited_for_as_long_as_asked(folder):
    client = ProcessClient(engine_config(folder), answer_timeout_s=0.2)
    await client.connect()
    try:
        assert await client.ask(ResetPrefixes()) is True
        os.kill(client.pid, signal.SIGSTOP)
        with pytest.raises(CommandFailed, match=r"not answered ResetPrefixes within 0\.2 s"):
            await client.ask(ResetPrefixes())
        os.kill(client.pid, signal.SIGCONT)
        assert client.num_restarts == 0
    finally:
        await client.shutdown()


async def test_nobody_waits_for_a_client_that_is_shut_down(folder):
    client = ProcessClient(engine_config(folder))
    await client.connect()
    os.kill(client.pid, signal.SIGSTOP)
    ask = asyncio.create_task(client.ask(ResetPrefixes()))
    await asyncio.sleep(0)
    os.kill(client.pid, signal.SIGCONT)
    await client.shutdown()
    with pytest.raises(EngineDead):
        await ask
    with pytest.raises(EngineDead):
        await client.ask(ResetPrefixes())


def test_the_engine_in_this_process_answers_at_once(folder):
    client = InProcessClient(engine_config(folder), audit_steps=True)
    for expected in (0, 32, 0):
        client.submit(wish(0, PROMPT, max_tokens=4))
        while client.has_work:
            last = client.step()[-1]
        assert last.num_cached_tokens == expected
        if expected:
            assert client.ask(ResetPrefixes()) is True
