"""What a service manager hears, on a socket like its own."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest

from quire.api.server.supervisor import Supervisor


@pytest.fixture
def manager(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.setblocking(False)
        yield listener


def heard(manager: socket.socket) -> list[str]:
    lines = []
    while True:
        try:
            lines += manager.recv(4096).decode().splitlines()
        except BlockingIOError:
            return lines


async def test_a_watchdog_is_told_while_all_is_well(manager):
    environ = {
        "NOTIFY_SOCKET": manager.getsockname(),
        "WATCHDOG_USEC": "20000",
        "WATCHDOG_PID": str(os.getpid()),
    }
    well = [True, True, False]
    task = asyncio.create_task(Supervisor(environ).reassure(lambda: bool(well and well.pop(0))))
    while well:
        await asyncio.sleep(0.005)
    task.cancel()
    assert heard(manager) == ["WATCHDOG=1"] * 2


async def test_a_watchdog_of_somebody_else_is_not_ours(manager):
    environ = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1"}
    await Supervisor(environ).reassure(lambda: True)  # returns at once
    assert heard(manager) == []


def test_an_abstract_socket_and_one_that_is_gone(caplog):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0quire-test-{os.getpid()}")
        Supervisor({"NOTIFY_SOCKET": f"@quire-test-{os.getpid()}"}).tell("READY=1", "STATUS=x")
        assert listener.recv(100) == b"READY=1\nSTATUS=x"
    Supervisor({"NOTIFY_SOCKET": "/no/such"}).tell("READY=1")
    assert "NOTIFY_SOCKET /no/such" in caplog.text
    Supervisor({}).tell("READY=1")
