"""A server without work leaves the processor alone: all its processes together, after they have worked."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.e2e.conftest import ServerProcess

MOST_OF_A_CORE = 0.005


@pytest.mark.parametrize(
    "window_s", [4.0, pytest.param(60.0, marks=[pytest.mark.slow, pytest.mark.timeout(150)])]
)
def test_an_idle_server_uses_half_a_percent_of_a_core_at_most(server: ServerProcess, window_s: float) -> None:
    status, _ = server.post("/v1/completions", {"model": "quire-folio", "prompt": "A quire", "max_tokens": 8})
    assert status == 200
    time.sleep(1.0)  # whatever follows the last step: garbage, log lines, keep-alive
    before_s = _processor_s(server)
    time.sleep(window_s)
    assert _processor_s(server) - before_s <= MOST_OF_A_CORE * window_s


def _processor_s(server: ServerProcess) -> float:
    """Time on a processor so far, of all threads of the server and its children, in seconds; exact to nanoseconds."""
    nanoseconds = 0
    for pid in (server.process.pid, *server.children()):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            nanoseconds += int((thread / "schedstat").read_text().split()[0])
    return nanoseconds / 1e9
