"""A whole server: sleep frees the engine's memory, pause holds requests, and the worker is called, over HTTP."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import ServerProcess

CHAT = {
    "messages": [{"role": "user", "content": "What is the capital of France?"}],
    "temperature": 0,
    "max_tokens": 24,
    "ignore_eos": True,
}


class Extension:
    """What --worker-extension-cls names."""

    def num_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.model.parameters())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("administration")
    before = dict(os.environ)
    os.environ.update(VLLM_SERVER_DEV_MODE="1", PYTHONPATH=os.pathsep.join(filter(None, sys.path)))
    try:
        running = ServerProcess(
            folder / "log.txt",
            *("--enable-sleep-mode", "--worker-extension-cls", f"{__name__}.Extension"),
            *(
                "--profiler-config.profiler",
                "torch",
                "--profiler-config.torch_profiler_dir",
                str(folder / "traces"),
            ),
        )
    finally:
        os.environ.clear()
        os.environ.update(before)
    with running:
        yield running


def resident_bytes(server: ServerProcess) -> int:
    (engine,) = server.children()
    return int(Path(f"/proc/{engine}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def answer(server: ServerProcess) -> str:
    status, reply = server.post("/v1/chat/completions", CHAT)
    assert status == 200, reply
    return str(reply["choices"][0]["message"]["content"])


def test_sleep_frees_memory_and_the_answer_afterwards_is_the_same(server: ServerProcess) -> None:
    before = answer(server)
    awake_bytes = resident_bytes(server)
    assert server.post("/sleep?level=1", {}) == (200, {"status": "asleep"})
    asleep_bytes = resident_bytes(server)
    weight_bytes = (Path(__file__).parents[2] / "src/quire/assets/folio/model.safetensors").stat().st_size
    assert awake_bytes - asleep_bytes > weight_bytes
    status, refusal = server.post("/v1/chat/completions", CHAT)
    assert status == 503 and "POST /wake_up" in refusal["error"]["message"]
    assert server.get("/ready")[0] == 503 and server.get("/health")[0] == 200
    assert server.post("/wake_up", {}) == (200, {"status": "awake"})
    assert answer(server) == before


def test_a_paused_request_is_answered_after_resume(server: ServerProcess) -> None:
    before = answer(server)
    assert server.post("/pause?mode=wait", {})[0] == 200
    replies: list[str] = []
    asking = threading.Thread(target=lambda: replies.append(answer(server)))
    asking.start()
    server.wait_metric("vllm:num_requests_running", 0)
    assert not replies
    assert server.post("/resume", {})[0] == 200
    asking.join(30)
    assert replies == [before]


def test_the_worker_is_called_and_profiled(server: ServerProcess) -> None:
    status, reply = server.post("/collective_rpc", {"method": "num_parameters"})
    assert status == 200 and reply["results"][0] > 1000
    assert server.post("/start_profile", {"profile_prefix": "e2e", "max_iterations": 5})[0] == 200
    answer(server)
    status, reply = server.post("/stop_profile", {})
    assert status == 200 and Path(reply["trace"]).stat().st_size > 10_000
