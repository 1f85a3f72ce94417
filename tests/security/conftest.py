"""A server of its own for hostile requests, and the oracle that looks at the whole of it after each test."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import ServerProcess

CONTROL = {
    "messages": [{"role": "user", "content": "What is 21 + 34?"}],
    "temperature": 0,
    "max_tokens": 12,
    "logprobs": True,
}
MEMORY_SLACK_BYTES = 64 << 20  # of one request
MOST_GROWN_BYTES = 256 << 20  # of all of them together: what caches and heaps keep
CONTROL_LIMIT_S = 5.0


class Guarded:
    """A running server with what it looked like before. `harm` sends one request and says what came back."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.answer = self.control()
        self.engine_pids = server.children()
        self.memory_bytes = self.first_bytes = self.resident_bytes()

    def control(self) -> Any:
        status, reply = self.server.post("/v1/chat/completions", CONTROL)
        assert status == 200, reply
        choice = reply["choices"][0]
        return choice["message"], choice["logprobs"]

    def resident_bytes(self) -> int:
        pids = [self.server.process.pid, *self.server.children()]
        return sum(_proportional_bytes(pid) for pid in pids)

    def processor_s(self) -> float:
        """Processor time that the server's processes have used."""
        return sum(_processor_s(pid) for pid in (self.server.process.pid, *self.server.children()))

    def post(self, path: str, body: Any, **headers: str) -> tuple[int, str, float]:
        """(status, body, seconds); `body` bytes go as they are. Status 0: the server closed the connection."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        started_s = time.monotonic()
        try:
            reply = httpx.post(
                self.server.base_url + path,
                content=content,
                headers={"content-type": "application/json", **headers},
                timeout=60,
            )
        except (httpx.RemoteProtocolError, httpx.WriteError, httpx.ReadError):
            return 0, "", time.monotonic() - started_s
        return reply.status_code, reply.text, time.monotonic() - started_s

    def refused(
        self, path: str, body: Any, field: str = "", limit_s: float = 1.0, work_s: float | None = None
    ) -> str:
        """Posts what must be refused, in time, with a 4xx that names `field`; returns the message. With `work_s` the
        server may use so much processor time for it, which other load on the machine does not change."""
        before_s = self.processor_s()
        status, text, seconds = self.post(path, body)
        used_s = self.processor_s() - before_s
        assert 400 <= status < 500, (status, text[:500])
        error = json.loads(text)["error"]
        assert not field or (error["param"] or "").startswith(field), error
        assert seconds < limit_s, f"refused after {seconds:.2f} s"
        assert work_s is None or used_s < work_s, f"refused with {used_s:.2f} s of work"
        return str(error["message"])

    def raw(self, payload: bytes, read_bytes: int = 4096, timeout_s: float = 10.0) -> bytes:
        """Sends bytes on a connection of their own and reads what comes back before it closes or time is over."""
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=timeout_s) as connection:
            try:
                connection.sendall(payload)
                return connection.recv(read_bytes)
            except (ConnectionError, TimeoutError):
                return b""

    def check(self) -> None:
        started_s = time.monotonic()
        assert self.control() == self.answer, "the control request answers otherwise"
        assert time.monotonic() - started_s < CONTROL_LIMIT_S
        assert self.server.get("/health")[0] == 200
        assert self.server.children() == self.engine_pids, "the engine process was replaced"
        self.server.wait_metric("vllm:num_requests_running", 0)
        self.server.wait_metric("vllm:kv_cache_usage_perc", 0)
        memory_bytes = self.resident_bytes()
        grown, grown_in_all = memory_bytes - self.memory_bytes, memory_bytes - self.first_bytes
        assert grown < MEMORY_SLACK_BYTES, f"{grown / 2**20:.0f} MiB more than before"
        assert grown_in_all < MOST_GROWN_BYTES, f"{grown_in_all / 2**20:.0f} MiB more than at first"
        self.memory_bytes = memory_bytes


def _proportional_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no Pss of process {pid}")


def _processor_s(pid: int) -> float:
    """Of all its threads, those that have ended too."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.fixture(scope="session")
def hostile_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    options = ("--max-model-len", "256", "--enable-prompt-tokens-details")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_XGRAMMAR_CACHE_MB", "16")  # compiled grammars that are kept are no leak
        running = ServerProcess(tmp_path_factory.mktemp("hostile") / "log.txt", *options)
    try:
        running.wait_ready()
        yield running
    finally:
        assert running.stop() == 0, "the server did not end well"
        assert "Traceback" not in running.log.read_text()


@pytest.fixture(scope="session")
def observed(hostile_server: ServerProcess) -> Guarded:
    before = Guarded(hostile_server)
    constrained = {"prompt": "x", "max_tokens": 2, "structured_outputs": {"regex": "[ab]{3,9}"}}
    for _ in range(3):  # memory that is taken once
        before.control()
        assert before.post("/v1/completions", constrained)[0] == 200
    before.memory_bytes = before.first_bytes = before.resident_bytes()
    return before


@pytest.fixture
def guarded(observed: Guarded) -> Iterator[Guarded]:
    """The server, looked over after the test."""
    yield observed
    observed.check()


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A file that hostile code would make."""
    return tmp_path / "canary"


def writes_canary(canary: Path) -> str:
    """Python that makes the canary."""
    return f"open({os.fspath(canary)!r}, 'w').close()"
