"""The server as a process: bound before loaded, drained by a signal, aborted by two, loud when its engine dies."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.api.server.scripted_engine import ScriptedEngine, engine_config, server_config

from quire.api.server import serve_http
from quire.base.errors import ConfigError

ROOT = Path(__file__).parents[3]
LIMIT_S = 20.0


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(self._path)


class Running:
    """A scripted server process. Its gate folder decides when loading ends."""

    def __init__(self, folder: Path, gate: Path, **changes: Any) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.gate = gate
        self._connections: list[http.client.HTTPConnection] = []
        self.uds = changes.get("uds", "")
        settings = json.dumps(
            {"host": "127.0.0.1", "port": self.port, "uvicorn_log_level": "error", **changes}
        )
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.api.server.scripted_server", str(folder), settings],
            cwd=ROOT,
            env={**os.environ, "LOAD_GATE": str(gate)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def connection(self) -> http.client.HTTPConnection:
        """A new one, closed with the test."""
        tcp = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        self._connections.append(UnixConnection(self.uds) if self.uds else tcp)
        return self._connections[-1]

    def get(self, path: str) -> int:
        """The status; 0 while nobody listens."""
        connection = self.connection()
        try:
            connection.request("GET", path)
            with connection.getresponse() as reply:
                return reply.status
        except OSError:
            return 0
        finally:
            connection.close()

    def wait_for(self, path: str, status: int) -> None:
        deadline = time.monotonic() + LIMIT_S
        while self.get(path) != status:
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def load(self) -> None:
        (self.gate / "load").touch()
        self.wait_for("/ready", 200)

    def post(self, prompt: str, **fields: Any) -> http.client.HTTPResponse:
        connection = self.connection()
        body = json.dumps({"prompt": prompt, "max_tokens": 200, **fields})
        connection.request("POST", "/v1/completions", body, {"content-type": "application/json"})
        return connection.getresponse()

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        for connection in self._connections:
            connection.close()

    def end(self) -> tuple[int, str, str]:
        """(exit code, stdout, stderr) once it has ended by itself."""
        out, err = self.process.communicate(timeout=LIMIT_S)
        return self.process.returncode, out, err


@pytest.fixture
def run(model_folder: Path, tmp_path: Path) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def start(**changes: Any) -> Running:
        started.append(Running(model_folder, tmp_path, **changes))
        return started[-1]

    yield start
    for running in started:
        running.close()


def frames(reply: http.client.HTTPResponse) -> list[str]:
    with reply:
        return [
            frame.strip().removeprefix("data: ") for frame in reply.read().decode().split("\n\n") if frame
        ]


def test_the_port_answers_while_weights_load(run):
    server = run()
    server.wait_for("/health", 503)
    assert (server.get("/v1/models"), server.get("/ready"), server.get("/metrics")) == (200, 503, 200)
    with server.post("hello") as reply:
        assert (reply.status, reply.headers["retry-after"]) == (503, "2")
    server.load()
    assert server.get("/health") == 200
    server.signal()
    code, out, _ = server.end()
    assert code == 0
    assert out.splitlines() == ["ready", "shutdowns: 1"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains(number, run):
    server = run()
    server.load()
    reply = server.post("hello", stream=True)
    first = reply.readline()
    server.signal(number)
    server.wait_for("/ready", 503)
    assert server.get("/health") == 200
    with server.post("late") as late:
        assert (late.status, late.headers["retry-after"]) == (503, "5")
    events = frames(reply)
    assert first.startswith(b"data: ")
    assert events[-1] == "[DONE]"
    assert json.loads(events[-2])["choices"][0]["finish_reason"] == "length"
    code, out, err = server.end()
    assert code == 0
    assert out.splitlines()[-1] == "shutdowns: 1"
    assert "Traceback" not in err


@pytest.mark.parametrize("streams", [True, False])
def test_a_second_signal_aborts(streams, run):
    server = run()
    server.load()
    connection = server.connection()
    body = json.dumps({"prompt": "wait", "max_tokens": 200, "stream": streams})
    connection.request("POST", "/v1/completions", body, {"content-type": "application/json"})
    server.wait_for("/health", 200)
    while json.loads(fetch(server, "/load"))["server_load"] == 0:
        time.sleep(0.005)
    server.signal()
    server.wait_for("/ready", 503)
    started_s = time.monotonic()
    server.signal()
    reply = connection.getresponse()
    if streams:
        events = frames(reply)
        assert json.loads(events[-2])["error"]["code"] == "service_unavailable"
        assert events[-1] == "[DONE]"
    else:
        assert reply.status == 503
    code, _, err = server.end()
    assert time.monotonic() - started_s < 2.5
    assert code == 128 + signal.SIGTERM
    assert "Traceback" not in err


def test_what_keeps_an_ending_server_is_shown_and_cut_off(run, tmp_path):
    (tmp_path / "stuck").touch()
    server = run()
    server.load()
    server.signal()
    code, _, err = server.end()
    assert code == 1
    assert "in shutdown" in err


def test_a_reply_that_is_still_being_read_is_read_to_its_end(run):
    """All is computed and written, and lies in buffers: the drain is over when the caller has it."""
    server = run()
    server.load()
    asked = {
        "messages": [{"role": "user", "content": "hello"}],
        "n": 200,
        "logprobs": True,
        "top_logprobs": 20,
    }
    body = json.dumps(asked)
    lines = (
        "POST /v1/chat/completions HTTP/1.1",
        "host: x",
        "connection: close",
        "content-type: application/json",
    )
    head = "\r\n".join([*lines, f"content-length: {len(body)}", "", ""])
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.settimeout(LIMIT_S)
        slow.connect(("127.0.0.1", server.port))
        slow.sendall((head + body).encode())
        start = slow.recv(1024)  # the head, and nothing more for a while
        server.signal()
        server.wait_for("/ready", 503)
        time.sleep(3.0)  # longer than a server without work takes to end
        assert server.process.poll() is None
        pieces = [start]
        while piece := slow.recv(1 << 16):
            pieces.append(piece)
    head, _, told = b"".join(pieces).partition(b"\r\n\r\n")
    assert f"content-length: {len(told)}".encode() in head
    assert len(told) > 5_000_000, "buffers of the kernel may hold it"
    assert len(json.loads(told)["choices"]) == 200
    assert server.end()[0] == 0


def test_a_server_that_is_stopped_while_it_drains_drains_on(run):
    """As by `docker pause`: the time it did not run is nobody's fault."""
    server = run(shutdown_timeout_s=2)
    server.load()
    reply = server.post("hello", stream=True)
    reply.readline()
    server.signal()
    server.wait_for("/ready", 503)
    server.signal(signal.SIGSTOP)
    time.sleep(2.5)
    server.signal(signal.SIGCONT)
    assert frames(reply)[-1] == "[DONE]"
    assert server.end()[0] == 0


def fetch(server: Running, path: str) -> bytes:
    connection = server.connection()
    connection.request("GET", path)
    with connection.getresponse() as reply:
        return reply.read()


def test_a_drain_that_takes_too_long_is_an_abort(run):
    server = run(shutdown_timeout_s=0)
    server.load()
    reply = server.post("wait", stream=True)
    reply.readline()
    server.signal()
    assert json.loads(frames(reply)[-2])["error"]["code"] == "service_unavailable"
    assert server.end()[0] == 128 + signal.SIGTERM


def test_a_signal_while_loading_ends_at_once(run):
    server = run()
    server.wait_for("/health", 503)
    server.signal(signal.SIGINT)
    code, out, err = server.end()
    assert (code, out.splitlines()) == (0, ["shutdowns: 1"])
    assert "Traceback" not in err


def test_a_dead_engine_ends_the_server_with_1(run):
    server = run()
    server.load()
    events = frames(server.post("die", stream=True))
    assert json.loads(events[-2])["error"]["code"] == "engine_dead"
    code, _, err = server.end()
    assert code == 1
    assert "the engine died" in err
    assert "Traceback" not in err


def test_what_the_engine_fails_to_start_with_is_raised(run):
    server = run()
    server.wait_for("/health", 503)
    (server.gate / "fail").touch()
    code, out, err = server.end()
    assert code == 2
    assert out.splitlines() == ["refused: model.safetensors is cut short", "shutdowns: 1"]
    assert "Traceback" not in err


def test_a_unix_socket_is_served_and_removed(run, tmp_path):
    path = tmp_path / "quire.sock"
    server = run(uds=str(path))
    server.load()
    assert len(frames(server.post("hello", stream=True))) > 3
    server.signal()
    assert server.end()[0] == 0
    assert not path.exists()


def test_a_port_in_use_is_one_sentence(model_folder):
    config = engine_config(model_folder)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        engine = ScriptedEngine(lambda _request, _index: [], 0)
        with pytest.raises(
            ConfigError, match=f"cannot listen on 127.0.0.1:{port}: another process"
        ) as caught:
            serve_http(engine, config, server_config(host="127.0.0.1", port=port), lambda _s: None)
    assert caught.value.setting == "port"
    assert engine.num_reaps == 1


def test_unusable_tls_files_are_one_sentence(model_folder, tmp_path):
    (tmp_path / "cert.pem").write_text("nonsense")
    for name in ("cert.pem", "missing.pem"):
        settings = server_config(host="127.0.0.1", port=0, ssl_certfile=str(tmp_path / name))
        engine = ScriptedEngine(lambda _request, _index: [], 0)
        with pytest.raises(ConfigError, match=f"{name}.*--ssl-certfile"):
            serve_http(engine, engine_config(model_folder), settings, lambda _s: None)
        assert engine.num_reaps == 1


def test_requests_are_logged_without_their_text_where_asked(run):
    server = run(enable_log_requests=True, uvicorn_log_level="info")
    server.load()
    frames(server.post("my secret", stream=True))
    server.signal()
    code, _, err = server.end()
    (line,) = [line for line in err.splitlines() if "prompt tokens" in line]
    assert "request cmpl-" in line
    assert "secret" not in err
    assert "Started server process" not in err
    assert code == 0
