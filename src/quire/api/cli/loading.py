"""The weights on their way: a progress line while the engine process loads, fed by what its client hears."""

from __future__ import annotations

import threading

from quire.base.observe import Progress
from quire.engine.client import EngineState, ProcessClient

QUIET_S = 1.5  # a small model is there before anybody wonders
POLL_S = 0.1


def show_loading(client: ProcessClient) -> None:
    """Show it from a thread of its own, until the weights are there or the engine is gone."""
    threading.Thread(target=_watch, args=(client,), name="loading progress", daemon=True).start()


def _watch(client: ProcessClient) -> None:
    progress = Progress("weights", client.load_total_bytes, quiet_s=QUIET_S)
    pause = threading.Event()
    while client.state is EngineState.LOADING and client.load_done_bytes < client.load_total_bytes:
        if client.load_done_bytes:  # before the first one, the engine imports its libraries
            progress.update(client.load_done_bytes)
        pause.wait(POLL_S)
    if client.state is not EngineState.DEAD:
        progress.finish()
