"""A real `quire serve` on the built-in model, in its own process, for clients over loopback."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quire.api.bench.server_side import free_port

START_LIMIT_S = 60.0


class ServerProcess:
    """`quire serve` with its output in a file; as a context it is ready inside, and stopped at the end. `base_url`
    has no trailing slash."""

    def __init__(self, log: Path, *arguments: str) -> None:
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        self.log = log
        command = [
            sys.executable,
            "-m",
            "quire",
            "serve",
            *arguments,
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
        ]
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )

    def __enter__(self) -> ServerProcess:
        try:
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def get(self, path: str) -> tuple[int, bytes]:
        """(status, body); (0, b"") while nobody listens."""
        try:
            with urllib.request.urlopen(self.base_url + path, timeout=10) as reply:
                return reply.status, reply.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return 0, b""

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        """(status, decoded JSON); `body` may be raw bytes."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(
            self.base_url + path, data=data, headers={"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return reply.status, json.loads(reply.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def wait_ready(self) -> None:
        deadline = time.monotonic() + START_LIMIT_S
        while self.get("/ready")[0] != 200:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the server did not become ready:\n{self.log.read_text()}")
            time.sleep(0.05)

    def metric(self, name: str) -> float:
        """A metric's value, summed over its label sets."""
        lines = self.get("/metrics")[1].decode().splitlines()
        values = [float(line.rsplit(" ", 1)[1]) for line in lines if line.split("{")[0] == name]
        assert values, f"no metric {name}"
        return sum(values)

    def wait_metric(self, name: str, value: float, limit_s: float = 10.0) -> float:
        """Seconds until the metric had the value."""
        started = time.monotonic()
        while self.metric(name) != value:
            assert time.monotonic() - started < limit_s, f"{name} is {self.metric(name)}, not {value}"
            time.sleep(0.01)
        return time.monotonic() - started

    def children(self) -> list[int]:
        """Process ids of the server's children (the engine process)."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def kill_engine(self, after_tokens: int) -> None:
        """SIGKILL for the engine process in the midst of its work, when it has written so many more tokens."""
        before = self.metric("vllm:generation_tokens_total")
        while self.metric("vllm:generation_tokens_total") < before + after_tokens:
            pass
        os.kill(self.children()[0], signal.SIGKILL)

    def stop(self, how: int = signal.SIGTERM, limit_s: float = 30.0) -> int:
        """Signal the server and wait; returns its exit code."""
        if self.process.poll() is None:
            os.kill(self.process.pid, how)
        try:
            return self.process.wait(limit_s)
        finally:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server on the built-in model for all tests that do not stop it."""
    log = tmp_path_factory.mktemp("server") / "log.txt"
    with ServerProcess(log, "--enable-prompt-tokens-details") as running:
        yield running
