"""The gate before the SDK's polls: who hears what first when a signal comes."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import dataclass

import pytest

from quire.api.serverless.platform import Intake


@dataclass
class Server:
    is_ready: bool = True
    is_lost: bool = False

    def watch(self) -> None:
        """Nothing to watch."""


@pytest.fixture
def told():
    """What the SDK's own signal handler was told; the process's handlers are put back afterwards."""
    numbers: list[int] = []
    earlier = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in earlier:
        signal.signal(number, lambda number, _: numbers.append(number))
    yield numbers
    for number, handler in earlier.items():
        signal.signal(number, handler)


async def until(is_so) -> None:
    async with asyncio.timeout(10):
        while not is_so():
            await asyncio.sleep(0.001)


async def test_a_signal_ends_the_poll_first_and_then_tells_the_sdk(told):
    intake, ended = Intake(Server()), []

    async def poll(_session):
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(list(told))

    guarded = intake._guarded(poll, waits_for_server=True)
    intake.begin()
    asking = asyncio.create_task(guarded("session"))
    await asyncio.sleep(0.01)
    os.kill(os.getpid(), signal.SIGTERM)
    assert await asking == []
    await until(lambda: told == [signal.SIGTERM])
    assert ended == [[]]
    assert await guarded("session") == []


async def test_a_job_that_came_with_the_signal_is_handed_on_before_the_sdk_is_told(told):
    intake, has_come = Intake(Server()), asyncio.Event()

    async def poll(_session):
        await has_come.wait()
        return ["job"]

    intake.begin()
    asking = asyncio.create_task(intake._guarded(poll, waits_for_server=True)("session"))
    await asyncio.sleep(0.01)
    has_come.set()
    os.kill(os.getpid(), signal.SIGTERM)
    assert await asking == ["job"]
    assert told == []
    await until(lambda: told == [signal.SIGTERM])


async def test_no_job_is_asked_for_while_the_server_is_down_and_errors_pass():
    server = Server(is_ready=False)
    intake, asked = Intake(server), []

    async def poll(*arguments):
        asked.append(arguments)
        raise ConnectionError("no platform")

    asking = asyncio.create_task(intake._guarded(poll, waits_for_server=True)("session", 3))
    await asyncio.sleep(0.01)
    assert asked == []
    server.is_ready = True
    with pytest.raises(ConnectionError):
        await asking
    assert asked == [("session", 3)]


async def test_a_lost_server_signals_the_worker_itself(told):
    server = Server()
    Intake(server).begin()
    server.is_lost = True
    await until(lambda: told == [signal.SIGTERM])
