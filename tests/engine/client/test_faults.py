"""Engines that crash, hang or fail over one request: that request ends, the others say what they say without it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from pathlib import Path

import msgspec
import pytest

from quire.base.errors import EngineDead, Quarantined
from quire.base.messages import EngineRequest, TokenEvent
from quire.base.wire import Downward, Submit
from quire.engine.client import EngineState, InProcessClient, ProcessClient
from quire.engine.client.link import EngineLink
from tests.engine.client.test_process_client import read, spoken, wish
from tests.faults import plugin_environment
from tests.model.tiny import engine_config, random_prompts, tiny_checkpoint

MARK = 77  # in a prompt, it aims the fault


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint("qwen3", tmp_path_factory.mktemp("tiny"))


@pytest.fixture
async def start(folder, monkeypatch):
    """Connects a client whose engine processes have the given faults."""
    clients = []

    async def connect(faults: str = "", **options: object) -> ProcessClient:
        for name, value in plugin_environment(QUIRE_FAULTS=faults).items():
            monkeypatch.setenv(name, value)
        config = msgspec.structs.replace(engine_config(folder), plugins=["faults"] if faults else [])
        clients.append(client := ProcessClient(config, **options))
        await client.connect()
        return client

    yield connect
    for client in clients:
        await client.shutdown()


def innocents(count: int) -> list[EngineRequest]:
    prompts = [[t for t in p if t != MARK] for p in random_prompts((5, 18, 40, 9, 33, 12, 7)[:count])]
    return [
        wish(number, prompt, n=1 + number % 2, temperature=0.8 * (number % 2), max_tokens=40)
        for number, prompt in enumerate(prompts)
    ]


def undisturbed(folder: Path, requests: list[EngineRequest]) -> list[list[tuple]]:
    engine = InProcessClient(engine_config(folder))
    for request in requests:
        engine.submit(request)
    events: list[TokenEvent] = []
    while engine.has_work:
        events += engine.step()
    return [spoken([e for e in events if e.request_id == request.request_id]) for request in requests]


def culprit(request_id: str = "bad") -> EngineRequest:
    return msgspec.structs.replace(wish(7, [5, MARK, 6], max_tokens=30), request_id=request_id)


async def beside(client: ProcessClient, others: list[EngineRequest]) -> list[list[tuple]]:
    """What the others say while the culprit is under way; it must end quarantined."""
    reading = [asyncio.create_task(read(client, request)) for request in others]
    with pytest.raises(Quarantined) as refusal:
        await read(client, culprit())
    assert refusal.value.status == 422
    return [spoken(events) for events in await asyncio.gather(*reading)]


@pytest.mark.parametrize(
    ("fault", "limit_s"),
    [
        ("exit@4:77", 0),
        pytest.param("hang@1:77", 0, marks=pytest.mark.slow),
        pytest.param("spin@3:77", 2.0, marks=pytest.mark.slow),
    ],
)
async def test_who_ends_two_engines_is_quarantined_and_nobody_else(start, folder, fault, limit_s):
    others = innocents(5)
    expected = undisturbed(folder, others)
    client = await start(fault, **({"step_timeout_s": limit_s} if limit_s else {}))
    assert await beside(client, others) == expected
    assert client.num_restarts == 2
    pid = client.pid
    with pytest.raises(Quarantined):  # a retry has a new id and another seed
        client.submit(msgspec.structs.replace(culprit("again"), seed=99))
    (harmless,) = await asyncio.gather(read(client, wish(1, [5, 6, 7])))
    assert harmless[-1].finish_reason == "length" and client.pid == pid
    assert client.num_streams == 0 and client.stats.num_blocks_used == 0


async def test_a_suspect_waits_for_an_engine_that_is_ready(start, monkeypatch):
    """A crash right after loading may swallow the news that loading is over: it would pass for a failure to load."""
    client = await start("exit@1:77")
    given_in: list[EngineState] = []
    send = EngineLink.send

    def watched(link: EngineLink, message: Downward) -> None:
        if isinstance(message, Submit):
            given_in.append(client.state)
        send(link, message)

    monkeypatch.setattr(EngineLink, "send", watched)
    with pytest.raises(Quarantined):
        await read(client, culprit())
    assert given_in == [EngineState.READY] * 2 and client.num_restarts == 2


async def test_requests_submitted_and_given_up_during_a_trial_are_not_lost(start):
    client = await start("exit@2:77")
    reading = asyncio.create_task(read(client, culprit()))
    others = [client.submit(wish(n, [5 + n, 6], max_tokens=300)) for n in range(3)]
    while client.num_restarts == 0:
        await asyncio.sleep(0.005)
    late = client.submit(wish(3, [9, 9], max_tokens=5))  # held behind the suspects
    gone = client.submit(wish(4, [9, 8], max_tokens=5))
    client.abort("4")
    client.abort("0")
    assert [event.finish_reason async for events in gone for event in events] == ["abort"]
    with pytest.raises(Quarantined):
        await reading
    assert [e async for events in late for e in events][-1].finish_reason == "length"
    ends = [[e async for events in stream for e in events][-1].finish_reason for stream in others]
    assert ends == ["abort", "length", "length"]


async def test_engines_killed_by_others_convict_nobody(start, folder):
    others = innocents(4)
    expected = undisturbed(folder, others)
    client = await start()
    reading = [asyncio.create_task(read(client, request)) for request in others]
    for restarts in (1, 2):
        while client.state is not EngineState.READY or client.stats.num_steps < 3:
            await asyncio.sleep(0.002)
        os.kill(client.pid, signal.SIGKILL)
        while client.num_restarts < restarts:
            await asyncio.sleep(0.002)
    assert [spoken(events) for events in await asyncio.gather(*reading)] == expected


async def amid_its_work(start, folder):
    """A client some steps into four requests, what is read of these, and what they say undisturbed."""
    others = innocents(4)
    expected = undisturbed(folder, others)
    client = await start()
    reading = [asyncio.create_task(read(client, request)) for request in others]
    while client.stats.num_steps < 10:
        await asyncio.sleep(0.002)
    return client, reading, expected


async def test_a_second_fault_while_the_first_is_mended_changes_nothing(start, folder):
    """The engine that takes the place of a dead one is killed before it is ready."""
    client, reading, expected = await amid_its_work(start, folder)
    for restarts in (1, 2):
        os.kill(client.pid, signal.SIGKILL)
        while client.num_restarts < restarts:
            await asyncio.sleep(0.002)
        assert client.state is EngineState.LOADING
    assert [spoken(events) for events in await asyncio.gather(*reading)] == expected


async def test_a_stopped_engine_is_replaced_within_five_seconds_without_any_setting(start, folder, caplog):
    client, reading, expected = await amid_its_work(start, folder)
    clock = asyncio.get_running_loop().time
    stopped_s = clock()
    os.kill(client.pid, signal.SIGSTOP)
    while client.num_restarts == 0:
        await asyncio.sleep(0.01)
    assert clock() - stopped_s < 5.0
    assert [spoken(events) for events in await asyncio.gather(*reading)] == expected
    assert "stood still" in caplog.text


@pytest.mark.slow
async def test_an_engine_that_stops_while_it_loads_is_given_up(start):
    client = await start()
    os.kill(client.pid, signal.SIGKILL)
    while client.num_restarts == 0:
        await asyncio.sleep(0.005)
    for restarts in (2, 3):
        os.kill(client.pid, signal.SIGSTOP)  # before it could load
        while client.num_restarts < restarts and client.state is not EngineState.DEAD:
            await asyncio.sleep(0.01)
    assert client.state is EngineState.DEAD
    with pytest.raises(EngineDead, match=r"stood still .* 3 times within 60 s"):
        client.submit(wish(1, [5]))


@pytest.mark.parametrize(
    ("fault", "ends"), [("raise@3:77", "error"), ("nan@3:77", "error"), ("memory@3:77", "length")]
)
async def test_a_fault_of_one_row_is_that_rows(start, folder, fault, ends, caplog):
    caplog.set_level(logging.WARNING)
    others = innocents(7)
    expected = undisturbed(folder, others)
    client = await start(fault)
    streams = await asyncio.gather(*(read(client, request) for request in [*others, culprit()]))
    assert [spoken(events) for events in streams[:-1]] == expected
    last = streams[-1][-1]
    assert last.finish_reason == ends
    assert sum(len(event.token_ids) for event in streams[-1]) == (30 if ends == "length" else 2)
    assert client.num_restarts == 0 and client.stats.num_blocks_used == 0
