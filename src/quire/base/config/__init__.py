"""Ask → resolve → frozen: the settings table, and the immutable configuration that comes of it."""

from quire.base.config.asked import Asked
from quire.base.config.card import ModelCard
from quire.base.config.parsers import FoundParsers
from quire.base.config.resolve import Resolution, resolve
from quire.base.config.resolved import (
    DTYPE_BYTES,
    CacheConfig,
    Decision,
    EngineConfig,
    SchedulerConfig,
    ServerConfig,
)
from quire.base.config.setting import Setting
from quire.base.config.table import SETTINGS, Table

__all__ = [
    "DTYPE_BYTES",
    "SETTINGS",
    "Asked",
    "CacheConfig",
    "Decision",
    "EngineConfig",
    "FoundParsers",
    "ModelCard",
    "Resolution",
    "SchedulerConfig",
    "ServerConfig",
    "Setting",
    "Table",
    "resolve",
]
