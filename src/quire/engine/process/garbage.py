"""VLLM_GC_DEBUG: a log line for each garbage collection of the engine process, which every stream has to wait for."""

from __future__ import annotations

import gc
import logging
import time
from collections import Counter
from collections.abc import Callable

logger = logging.getLogger(__name__)


def log_collections(num_types: int) -> Callable[[], None]:
    """From now on; returns what ends it. `num_types` is how many of the commonest types of objects are listed."""
    started_s = 0.0

    def on_phase(phase: str, info: dict[str, int]) -> None:
        nonlocal started_s
        if phase == "start":
            started_s = time.monotonic()
            return
        milliseconds = 1000 * (time.monotonic() - started_s)
        line = f"collected {info['collected']} objects of generation {info['generation']} in {milliseconds:.2f} ms"
        if num_types:
            counts = Counter(type(thing).__qualname__ for thing in gc.get_objects())
            line += "; commonest: " + ", ".join(
                f"{count} {name}" for name, count in counts.most_common(num_types)
            )
        logger.info("%s", line)

    gc.callbacks.append(on_phase)
    return lambda: gc.callbacks.remove(on_phase)
