"""Pause and sleep of a real engine process: what becomes of requests in each mode, of memory, and of a new engine."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import msgspec
import pytest

from quire.base.commands import FreeKV
from quire.base.errors import CommandFailed, EngineAsleep, InvalidValue
from quire.engine.client import Administrator, EngineState, ProcessClient
from tests.engine.client.test_process_client import read, wish
from tests.model.tiny import engine_config, tiny_checkpoint

PROMPT = list(range(5, 45))
NO_TIME_S = 0.05


class Extra:
    """What the tests have the worker do."""

    def num_parameters(self, times: int = 1) -> int:
        return times * sum(parameter.numel() for parameter in self.model.parameters())

    def network(self) -> object:
        return self.model

    def fail(self) -> None:
        raise ZeroDivisionError("by test")

    def stand_still(self, seconds: float) -> str:
        import time

        time.sleep(seconds)
        return "rested"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint("qwen3", tmp_path_factory.mktemp("tiny"))


@pytest.fixture
async def client(folder, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    config = msgspec.structs.replace(
        engine_config(folder), enable_sleep_mode=True, worker_extension_class=f"{__name__}.Extra"
    )
    client = ProcessClient(config)
    await client.connect()
    yield client
    await client.shutdown()


@pytest.fixture
def administrator(client) -> Administrator:
    return Administrator(client, may_sleep=True)


def tokens(events) -> list[int]:
    return [token for event in events for token in event.token_ids]


async def rest_of(stream) -> list:
    return [event async for batch in stream for event in batch]


async def begun(client, number: int = 0, **sampling):
    """A stream that has said something, and what."""
    stream = client.submit(wish(number, PROMPT, **{"max_tokens": 400, **sampling}))
    return stream, list(await anext(stream))


async def test_paused_requests_stop_and_go_on_and_new_ones_wait(client, administrator):
    alone = tokens(await read(client, wish(0, PROMPT, max_tokens=400)))
    stream, said = await begun(client)
    await administrator.pause("keep", clear_cache=False)
    assert administrator.is_paused
    num_steps = client.stats.num_steps
    late = asyncio.create_task(read(client, wish(1, [9, 8], max_tokens=3)))
    await asyncio.sleep(NO_TIME_S)
    assert not late.done() and client.stats.num_steps == num_steps
    with pytest.raises(InvalidValue, match="mode abort or keep"):
        await administrator.pause("wait")
    await administrator.resume()
    assert tokens(said + await rest_of(stream)) == alone
    assert len(tokens(await late)) == 3 and not administrator.is_paused


async def test_a_pause_may_end_requests_or_wait_for_them(client, administrator):
    stream, _ = await begun(client)
    await administrator.pause("abort")
    assert (await rest_of(stream))[-1].finish_reason == "abort"
    await administrator.resume()
    stream, _ = await begun(client, max_tokens=60)
    late = asyncio.create_task(read(client, wish(1, [9, 8], max_tokens=3)))
    await administrator.pause("wait")
    assert (await rest_of(stream))[-1].finish_reason == "length"
    await administrator.resume()
    assert len(tokens(await late)) == 3
    assert client.stats.num_blocks_used == 0


async def test_asleep_requests_are_refused_and_awake_they_say_the_same(client, administrator):
    before = tokens(await read(client, wish(0, PROMPT, temperature=0.0, max_tokens=20)))
    for level, mode in ((1, "abort"), (2, "wait"), (0, "abort")):
        await administrator.sleep(level, mode)
        assert administrator.is_sleeping
        with pytest.raises(EngineAsleep, match="wake_up"):
            client.submit(wish(1, PROMPT))
        await administrator.wake_up(["kv_cache"])
        assert administrator.is_sleeping is (level > 0)
        await administrator.wake_up(["weights"])
        assert not administrator.is_sleeping
        assert tokens(await read(client, wish(0, PROMPT, temperature=0.0, max_tokens=20))) == before


async def test_kept_through_a_sleep_a_stream_goes_on_where_it_stopped(client, administrator):
    alone = tokens(await read(client, wish(0, PROMPT, max_tokens=400)))
    stream, said = await begun(client)
    await administrator.sleep(1, "keep")
    late = asyncio.create_task(read(client, wish(1, [9, 8], max_tokens=3)))
    await asyncio.sleep(NO_TIME_S)
    assert not late.done()
    await administrator.wake_up()
    assert tokens(said + await rest_of(stream)) == alone
    assert len(tokens(await late)) == 3


async def test_a_new_engine_stands_where_the_old_one_stood(client, administrator):
    alone = tokens(await read(client, wish(0, PROMPT, max_tokens=400)))
    stream, said = await begun(client)
    await administrator.sleep(1, "keep")
    await administrator.wake_up(["kv_cache"])
    os.kill(client.pid, signal.SIGKILL)
    while client.num_restarts == 0:
        await asyncio.sleep(0.002)
    with pytest.raises(CommandFailed, match="'ModelRunner'"):  # of a network that is not there
        await administrator.call_worker("num_parameters")
    assert client.state is EngineState.READY and client.stats.num_steps == 0
    await administrator.pause("keep")
    await administrator.wake_up()
    assert administrator.is_paused and not administrator.is_sleeping
    os.kill(client.pid, signal.SIGKILL)
    while client.num_restarts == 1:
        await asyncio.sleep(0.002)
    assert await administrator.call_worker("num_parameters") > 0
    assert client.stats.num_steps == 0
    await administrator.resume()
    assert tokens(said + await rest_of(stream)) == alone


async def test_sleep_and_its_parts_are_refused_by_name(client, administrator):
    for call, field in (
        (administrator.sleep(3), "level"),
        (administrator.sleep(1, "never"), "mode"),
        (administrator.pause("never"), "mode"),
        (administrator.wake_up(["dreams"]), "tags"),
        (Administrator(client, may_sleep=False).sleep(1), "enable_sleep_mode"),
    ):
        with pytest.raises(InvalidValue) as refusal:
            await call
        assert refusal.value.field == field
    assert not administrator.is_sleeping and not administrator.is_paused


async def test_methods_of_the_worker_are_called_and_their_trouble_is_told(client, administrator):
    count = await administrator.call_worker("num_parameters")
    assert await administrator.call_worker("num_parameters", [2]) == 2 * count > 0
    assert await administrator.call_worker("num_parameters", kwargs={"times": 3}) == 3 * count
    for method, message in (
        ("fail", "ZeroDivisionError: by test"),
        ("network", "cannot leave the engine process"),
    ):
        with pytest.raises(CommandFailed, match=message):
            await administrator.call_worker(method)
    for method in ("no_such_method", "_report", "config"):
        with pytest.raises(InvalidValue, match="no public method"):
            await administrator.call_worker(method)
    assert await administrator.call_worker("num_parameters") == count and client.num_restarts == 0


@pytest.mark.slow
async def test_a_method_may_stand_still_as_long_as_its_caller_lets_it(client, administrator):
    assert await administrator.call_worker("stand_still", [6.0]) == "rested"
    assert client.num_restarts == 0
    with pytest.raises(CommandFailed, match=r"took more than 0.2 s"):
        await administrator.call_worker("stand_still", [60.0], timeout_s=0.2)
    assert await asyncio.wait_for(administrator.call_worker("num_parameters"), 30) > 0
    assert client.num_restarts == 1


async def test_aborts_by_name_end_those_alone(client, administrator):
    streams = [(await begun(client, number))[0] for number in range(3)]
    assert administrator.abort(["1", "unknown"]) == 1
    assert (await rest_of(streams[1]))[-1].finish_reason == "abort"
    assert administrator.abort() == 2
    assert [(await rest_of(streams[n]))[-1].finish_reason for n in (0, 2)] == ["abort", "abort"]


async def test_freed_kv_memory_is_computed_again(client):
    alone = tokens(await read(client, wish(0, PROMPT, max_tokens=400)))
    stream, said = await begun(client)
    await client.ask(FreeKV())
    assert tokens(said + await rest_of(stream)) == alone
