"""The load-balancer mode in front of a server that a script plays."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from quire.api.bench.server_side import free_port
from quire.api.serverless import local_server
from quire.api.serverless.front_door import FrontDoor
from quire.api.serverless.local_server import LocalServer, StartFailed
from quire.api.serverless.worker_settings import Mode, WorkerSettings
from quire.base.errors import ConfigError

# waits for a file before it listens; then answers /ready, and sends any other request's bytes back
GATED = """\
import os, socket, sys, time
while not os.path.exists(sys.argv[2]):
    time.sleep(0.002)
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    there, _ = listener.accept()
    data = there.recv(100000)
    there.sendall(b"HTTP/1.1 200 OK\\r\\n\\r\\n" if data.startswith(b"GET /ready") else b"echo:" + data)
    there.close()
"""


@asynccontextmanager
async def door_of(gate: Path, *, has_health_port: bool = True):
    """A running door, its server behind the gate; gives (server, settings, the door's task)."""
    port = free_port()
    settings = WorkerSettings(
        mode=Mode.LOAD_BALANCER,
        port=port,
        health_port=free_port() if has_health_port else port,
        server_port=free_port(),
    )
    server = LocalServer([], os.environ, port=settings.server_port, startup_timeout_s=20.0)
    server.command = [sys.executable, "-S", "-c", GATED, str(settings.server_port), str(gate)]
    task = asyncio.create_task(FrontDoor(server, settings).run())
    try:
        await until(lambda: server.pid is not None or task.done())
        yield server, settings, task
    finally:
        server.stop()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(is_so) -> None:
    deadline_s = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.005)


async def ask(port: int, path: str) -> bytes:
    """The whole answer to a GET."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize("has_health_port", [True, False])
async def test_from_loading_to_ready_to_a_restart_to_the_end(tmp_path, monkeypatch, has_health_port):
    monkeypatch.setattr(local_server, "WATCH_S", 0.01)
    gate = tmp_path / "gate"
    async with door_of(gate, has_health_port=has_health_port) as (server, settings, task):
        assert (await ask(settings.health_port, "/ping")).startswith(b"HTTP/1.1 204 ")
        assert (await ask(settings.port, "/v1/models")).startswith(b"HTTP/1.1 503 ")
        gate.touch()
        await until(lambda: server.is_ready)
        assert await ask(settings.port, "/v1/models") == b"echo:GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"
        if has_health_port:
            assert (await ask(settings.health_port, "/ping?x=1")).startswith(b"HTTP/1.1 200 ")
            assert (await ask(settings.health_port, "/v1/models")).startswith(b"HTTP/1.1 503 ")
        gate.unlink()
        os.kill(server.pid, signal.SIGKILL)
        await until(lambda: not server.is_ready)
        assert (await ask(settings.health_port, "/ping")).startswith(b"HTTP/1.1 204 ")
        gate.touch()
        await until(lambda: server.is_ready)
        os.kill(os.getpid(), signal.SIGTERM)
        assert await task == 0


async def test_a_server_that_cannot_come_back_ends_the_door(tmp_path, monkeypatch):
    monkeypatch.setattr(local_server, "WATCH_S", 0.01)
    gate = tmp_path / "gate"
    gate.touch()
    async with door_of(gate) as (server, _, task):
        await until(lambda: server.is_ready)
        server.command = [sys.executable, "-S", "-c", "raise SystemExit(3)"]
        os.kill(server.pid, signal.SIGKILL)
        assert await task == 1


async def test_a_start_that_fails_is_raised(tmp_path):
    async with door_of(tmp_path / "gate") as (server, _, task):
        os.kill(server.pid, signal.SIGKILL)
        with pytest.raises(StartFailed):
            await task


async def test_a_taken_port_is_named(tmp_path):
    async with door_of(tmp_path / "gate") as (_, settings, _):
        server = LocalServer([], os.environ, port=settings.server_port, startup_timeout_s=1.0)
        with pytest.raises(ConfigError, match=f"cannot listen on port {settings.port}"):
            await FrontDoor(server, settings).run()
