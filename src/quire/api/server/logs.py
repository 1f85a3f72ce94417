"""Where log lines go: ours and uvicorn's warnings to stderr, the access log to stdout."""

from __future__ import annotations

import copy
from typing import Any

from uvicorn.config import LOG_LEVELS, LOGGING_CONFIG


def log_config(level: str) -> dict[str, Any]:
    """A `logging.config` dictionary: uvicorn's own formats, at `level`, with the logger `quire` beside them.

    At "info" uvicorn would announce its start and end; the command line does that in its own words.
    """
    number = LOG_LEVELS[level]
    quieter = max(number, LOG_LEVELS["warning"]) if number == LOG_LEVELS["info"] else number
    config = copy.deepcopy(LOGGING_CONFIG)
    config["loggers"]["uvicorn"]["level"] = number
    config["loggers"]["uvicorn.error"]["level"] = quieter
    config["loggers"]["uvicorn.access"]["level"] = number
    config["loggers"]["quire"] = {"handlers": ["default"], "level": number, "propagate": False}
    return config
