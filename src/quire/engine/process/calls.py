"""VLLM_TRACE_FUNCTION: every call of a Quire function in the engine process, and its return, as a line of a file."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from quire.base.errors import ConfigError

logger = logging.getLogger(__name__)
SOURCE = str(Path(__file__).parents[2])  # of the package


def log_calls(folder: str) -> Callable[[], None]:
    """From now on, in this thread and those it starts; returns what ends it. Raises ConfigError when nothing can be
    written to `folder`, which is made if need be."""
    path = Path(folder).expanduser() / f"engine-{os.getpid()}.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w", encoding="utf-8", buffering=1)
    except OSError as problem:
        raise ConfigError(
            f"VLLM_TRACE_FUNCTION: {path} cannot be written ({problem.strerror}); VLLM_CACHE_ROOT names another",
            setting="trace_function",
        ) from None

    def on_event(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event in ("call", "return") and code.co_filename.startswith(SOURCE):
            place = f"{code.co_filename.removeprefix(SOURCE)}:{frame.f_lineno}"
            file.write(f"{time.time():.6f} {threading.get_ident()} {event} {code.co_qualname} {place}\n")

    def end() -> None:
        sys.setprofile(None)
        threading.setprofile(None)
        file.close()

    logger.warning("every call is written to %s: the engine is many times slower", path)
    threading.setprofile(on_event)
    sys.setprofile(on_event)
    return end
