"""Where log lines go: Quire's own as the settings say, uvicorn's warnings to stderr, the access log to stdout."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from typing import Any

from uvicorn.config import LOG_LEVELS, LOGGING_CONFIG

from quire.base.config import LogConfig
from quire.base.logs import log_dictionary


class QuietPaths(logging.Filter):
    """Drops access log lines of requests for some paths, whatever their query."""

    def __init__(self, paths: Sequence[str]) -> None:
        super().__init__()
        self._paths = frozenset(paths)

    def filter(self, record: logging.LogRecord) -> bool:
        # uvicorn's arguments: client, method, path with query, HTTP version, status
        arguments = record.args
        if not isinstance(arguments, tuple) or len(arguments) < 3:
            return True
        return str(arguments[2]).partition("?")[0] not in self._paths


def log_config(level: str, ours: LogConfig, quiet_paths: Sequence[str] = ()) -> dict[str, Any] | None:
    """A `logging.config` dictionary: uvicorn's own formats at `level`, with Quire's logger beside them.

    None leaves logging alone; a file that the user named takes the place of everything. At "info" uvicorn would
    announce its start and end; the command line does that in its own words. Raises ConfigError.
    """
    if not ours.is_ours:
        return None
    dictionary = log_dictionary(ours)
    if ours.path:
        return dictionary
    number = LOG_LEVELS[level]
    quieter = max(number, LOG_LEVELS["warning"]) if number == LOG_LEVELS["info"] else number
    config = copy.deepcopy(LOGGING_CONFIG)
    config["loggers"]["uvicorn"]["level"] = number
    config["loggers"]["uvicorn.error"]["level"] = quieter
    config["loggers"]["uvicorn.access"]["level"] = number
    if quiet_paths:
        config["filters"] = {"quiet paths": {"()": QuietPaths, "paths": list(quiet_paths)}}
        config["handlers"]["access"]["filters"] = ["quiet paths"]
    for part in ("formatters", "handlers", "loggers"):
        config[part].update(dictionary[part])
    return config
