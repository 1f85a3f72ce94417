"""Start and stop of the whole server: early answers, named failures, nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from tests.e2e.conftest import ServerProcess


def start(tmp_path: Path, *arguments: str) -> ServerProcess:
    return ServerProcess(tmp_path / "log.txt", *arguments)


def test_health_and_models_answer_while_weights_load(tmp_path):
    server = start(tmp_path)
    try:
        seen = []
        while (answer := server.get("/health")[0]) != 200:
            if answer:
                models = json.loads(server.get("/v1/models")[1])
                seen.append((answer, models["data"][0]["id"], server.get("/ready")[0]))
            assert server.process.poll() is None, server.log.read_text()
            time.sleep(0.02)
        assert seen and set(seen) <= {(503, "quire-folio", 503), (503, "quire-folio", 200)}
    finally:
        server.stop()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drains_running_streams_and_leaves_nothing_behind(tmp_path, how, monkeypatch):
    folder = tmp_path / "run"
    folder.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    shared_memory = set(os.listdir("/dev/shm"))
    server = start(tmp_path)
    server.wait_ready()
    (engine,) = server.children()
    body = {"prompt": "Once", "max_tokens": 150, "ignore_eos": True, "stream": True, "model": "quire-folio"}
    request = urllib.request.Request(
        f"{server.base_url}/v1/completions",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        lines = [reply.readline()]
        os.kill(server.process.pid, how)
        lines += reply.readlines()
    assert server.process.wait(30) == 0, server.log.read_text()
    frames = [line for line in lines if line.startswith(b"data: ")]
    assert frames[-1] == b"data: [DONE]\n"
    assert json.loads(frames[-2][6:])["choices"][0]["finish_reason"] == "length"
    assert not Path(f"/proc/{engine}").exists()
    assert list(folder.iterdir()) == []
    assert set(os.listdir("/dev/shm")) <= shared_memory


def test_the_engine_dies_with_a_killed_server(tmp_path):
    server = start(tmp_path)
    server.wait_ready()
    (engine,) = server.children()
    server.process.kill()
    server.process.wait(5)
    deadline = time.monotonic() + 2
    while (
        Path(f"/proc/{engine}/status").exists()
        and "Z" not in Path(f"/proc/{engine}/stat").read_text().split()[2]
    ):
        assert time.monotonic() < deadline, "the engine process outlived its server by 2 s"
        time.sleep(0.02)


def test_an_engine_that_keeps_dying_ends_the_server_loudly(tmp_path):
    server = start(tmp_path)
    server.wait_ready()
    for _ in range(3):
        (engine,) = server.children()
        os.kill(engine, signal.SIGKILL)
        while server.process.poll() is None and server.children() in ([], [engine]):
            time.sleep(0.02)
    assert server.process.wait(10) not in (0, None)
    log = server.log.read_text()
    assert "Traceback" not in log
    assert "3 times within 60 s" in log


def test_a_second_signal_aborts_at_once(tmp_path):
    server = start(tmp_path)
    server.wait_ready()
    body = {"prompt": "Once", "max_tokens": 1900, "ignore_eos": True, "model": "quire-folio", "n": 16}
    waiting = threading.Thread(target=lambda: server.post("/v1/completions", body), daemon=True)
    waiting.start()
    server.wait_metric("vllm:num_requests_running", 16)
    os.kill(server.process.pid, signal.SIGTERM)
    time.sleep(0.2)
    started = time.monotonic()
    os.kill(server.process.pid, signal.SIGTERM)
    server.process.wait(10)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["/no/such/folder"], 1, ["/no/such/folder"]),
        (["--max-num-seqs", "many"], 2, ["--max-num-seqs", "many"]),
        (["--max-nun-seqs", "3"], 2, ["--max-num-seqs"]),
        (["--block-size", "0"], 2, ["--block-size"]),
    ],
)
def test_what_cannot_start_says_why_in_one_sentence_and_quickly(arguments, code, words):
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "quire", "serve", *arguments], capture_output=True, text=True, timeout=20
    )
    assert time.monotonic() - started < 2
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr
