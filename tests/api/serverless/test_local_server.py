"""A child process started, watched, restarted and ended. In place of `quire serve`, a script that starts at once."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from quire.api.bench.server_side import free_port
from quire.api.serverless import local_server
from quire.api.serverless.failures import ServerLost
from quire.api.serverless.local_server import MAX_RESTARTS, LocalServer, StartFailed

WELL = """\
import socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    there, _ = listener.accept()
    there.recv(1000)
    there.sendall(b"HTTP/1.1 200 OK\\r\\n\\r\\n")
    there.close()
"""
STUBBORN = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + WELL


def server_of(script: str, *, timeout_s: float = 20.0) -> LocalServer:
    server = LocalServer([], os.environ, port=free_port(), startup_timeout_s=timeout_s)
    assert server.command[1:4] == ["-m", "quire", "serve"]
    assert server.command[-4:-1] == ["--host", "127.0.0.1", "--port"]
    server.command = [sys.executable, "-S", "-c", script, server.command[-1]]
    return server


async def until(is_so, limit_s: float = 20.0) -> None:
    deadline_s = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.005)


async def test_it_starts_and_stops():
    server = server_of(WELL)
    await server.start()
    assert server.is_ready
    await server.ready()
    pid = server.pid
    server.stop()
    assert not server.is_ready
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    server.stop()


@pytest.mark.parametrize(("code", "expected"), [(2, 2), (1, 1), (0, 1), (77, 1)])
async def test_an_end_before_it_is_ready_is_told_with_its_exit_code(code, expected):
    with pytest.raises(StartFailed, match=f"exit code {code}") as caught:
        await server_of(f"raise SystemExit({code})").start()
    assert caught.value.exit_code == expected


async def test_a_start_that_takes_too_long_ends_it():
    server = server_of("import time\ntime.sleep(60)", timeout_s=0.1)
    with pytest.raises(StartFailed, match="VLLM_STARTUP_TIMEOUT"):
        await server.start()
    assert server.pid is None


async def test_it_is_killed_when_it_does_not_end_by_itself(monkeypatch):
    monkeypatch.setattr(local_server, "STOP_LIMIT_S", 0.05)
    server = server_of(STUBBORN)
    await server.start()
    pid = server.pid
    server.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_it_ends_with_the_worker_even_if_that_is_killed():
    port = free_port()
    code = (
        "import asyncio, os, signal, sys\n"
        "from quire.api.serverless.local_server import LocalServer\n"
        f"server = LocalServer([], os.environ, port={port}, startup_timeout_s=20)\n"
        f"server.command = [sys.executable, '-S', '-c', {WELL!r}, '{port}']\n"
        "asyncio.run(server.start())\n"
        "print(server.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    pid = int(ended.stdout)
    deadline_s = time.monotonic() + 20
    while is_running(pid):
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


def is_running(pid: int) -> bool:
    """Whether a process lives; one that nobody waited for yet does not."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


async def test_it_comes_back_until_it_has_died_too_often(monkeypatch):
    monkeypatch.setattr(local_server, "WATCH_S", 0.01)
    server = server_of(WELL)
    await server.start()
    server.watch()
    server.watch()
    for number in range(MAX_RESTARTS):
        recovered = asyncio.create_task(server.recovered())
        await asyncio.sleep(0)
        os.kill(server.pid, signal.SIGKILL)
        await recovered
        assert server.generation == number + 2
    os.kill(server.pid, signal.SIGKILL)
    with pytest.raises(ServerLost):
        await server.recovered()
    with pytest.raises(ServerLost):
        await server.ready()
    assert server.is_lost
    server.stop()


async def test_a_drained_server_is_not_started_again(monkeypatch):
    monkeypatch.setattr(local_server, "WATCH_S", 0.01)
    server = server_of(WELL)
    await server.start()
    server.watch()
    pid = server.pid
    server.drain()
    await until(lambda: not is_running(pid))
    await server._watch  # it ends by itself
    assert (server.pid, server.generation, server.is_lost) == (pid, 1, False)
    server.stop()


async def test_a_restart_that_fails_is_the_end(monkeypatch):
    monkeypatch.setattr(local_server, "WATCH_S", 0.01)
    server = server_of(WELL)
    await server.start()
    server.watch()
    server.command = [sys.executable, "-S", "-c", "raise SystemExit(3)"]
    os.kill(server.pid, signal.SIGKILL)
    await until(lambda: server.is_lost)
    server.stop()


async def test_a_server_that_only_dropped_a_job_is_well_again(monkeypatch):
    monkeypatch.setattr(local_server, "SETTLE_S", 0.02)
    server = server_of(WELL)
    await server.start()
    await server.recovered()
    assert server.generation == 1
    server.stop()
