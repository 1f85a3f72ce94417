"""StatLoggers: statistics loggers of installed packages, fed with the stats of every step. docs/plugins.md says how.

A logger is a class made with (EngineConfig, 0); `record(stats)` hears of each step, `log()` is called every
VLLM_LOG_STATS_INTERVAL seconds; both may be left out. One that raises is not called again: nobody waits for it.
"""

from __future__ import annotations

import logging
from typing import Any

from quire.base.config import EngineConfig
from quire.base.errors import ConfigError
from quire.base.messages import EngineStats
from quire.base.plugins import load_stat_loggers

logger = logging.getLogger("quire.server.stats")


class StatLoggers:
    """Raises ConfigError when a named one cannot be made."""

    def __init__(self, config: EngineConfig) -> None:
        self._all: dict[str, Any] = {}
        for name, make in load_stat_loggers(config.plugins).items():
            try:
                self._all[name] = make(config, 0)
            except Exception as problem:  # whatever somebody else's code raises
                raise ConfigError(
                    f"VLLM_PLUGINS: {name} failed ({type(problem).__name__}: {problem})", setting="plugins"
                ) from problem

    def __len__(self) -> int:
        return len(self._all)

    def record(self, stats: EngineStats) -> None:
        self._call("record", stats)

    def log(self) -> None:
        self._call("log")

    def _call(self, method: str, *arguments: object) -> None:
        for name, one in list(self._all.items()):
            function = getattr(one, method, None)
            if function is None:
                continue
            try:
                function(*arguments)
            except Exception:
                logger.exception("the statistics logger %s failed and is not called again", name)
                del self._all[name]
