"""A whole server under a request that ends its engine: it is refused, and its neighbour notices nothing."""

from __future__ import annotations

import signal
import socket
import threading
import time

from tests.e2e.conftest import ServerProcess
from tests.faults import plugin_environment

MARK = 777
INNOCENT = {
    "prompt": "Once upon a time",
    "max_tokens": 150,
    "temperature": 0.9,
    "seed": 3,
    "ignore_eos": True,
}
POISON = {"prompt": [10, MARK], "max_tokens": 9, "temperature": 0, "ignore_eos": True}


def text(reply: tuple[int, dict]) -> str:
    return reply[1]["choices"][0]["text"]


def test_poison_is_refused_beside_an_innocent_stream(tmp_path, monkeypatch):
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(60)
    environment = plugin_environment(
        VLLM_PLUGINS="faults", QUIRE_FAULTS=f"exit@3:{MARK}", NOTIFY_SOCKET=str(tmp_path / "notify")
    )
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    server = ServerProcess(tmp_path / "log.txt")
    try:
        assert manager.recv(100) == b"READY=1"
        server.wait_ready()
        undisturbed = text(server.post("/v1/completions", INNOCENT))
        told: list[str] = []
        neighbour = threading.Thread(
            target=lambda: told.append(text(server.post("/v1/completions", INNOCENT)))
        )
        neighbour.start()
        server.wait_metric("vllm:num_requests_running", 1)
        status, refusal = server.post("/v1/completions", POISON)
        assert (status, refusal["error"]["code"]) == (422, "request_quarantined")
        neighbour.join(60)
        assert told == [undisturbed]
        while (status := server.post("/v1/completions", {**POISON, "seed": 5, "stream": True})[0]) == 503:
            time.sleep(0.2)  # while the engine is replaced
        assert status == 422
        assert server.log.read_text().count("ended unexpectedly") == 2
        assert server.stop(signal.SIGTERM) == 0
        assert manager.recv(100) == b"STOPPING=1"
    finally:
        server.process.kill()
        server.process.wait()
        manager.close()
