"""Ask → resolve → frozen: the settings table, and the immutable configuration that comes of it."""

from quire.base.config.asked import Asked
from quire.base.config.card import ModelCard
from quire.base.config.coverage import count_coverage
from quire.base.config.resolve import Resolution, resolve
from quire.base.config.resolved import (
    DTYPE_BYTES,
    CacheConfig,
    Decision,
    EngineConfig,
    LogConfig,
    SchedulerConfig,
    ServerConfig,
)
from quire.base.config.setting import Effect
from quire.base.config.table import SETTINGS

__all__ = [
    "DTYPE_BYTES",
    "SETTINGS",
    "Asked",
    "CacheConfig",
    "Decision",
    "Effect",
    "EngineConfig",
    "LogConfig",
    "ModelCard",
    "Resolution",
    "SchedulerConfig",
    "ServerConfig",
    "count_coverage",
    "resolve",
]
