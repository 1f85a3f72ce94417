"""Ask → resolve → frozen: the settings table, and the immutable configuration that comes of it."""

from quire.base.config.asked import Asked
from quire.base.config.card import ExpertFacts, ModelCard, PoolingFacts
from quire.base.config.coverage import count_coverage
from quire.base.config.parsers import FoundParsers, reasoning_plugin
from quire.base.config.pooler import PoolerConfig
from quire.base.config.resolve import Resolution, resolve
from quire.base.config.resolved import (
    CacheConfig,
    Decision,
    EngineConfig,
    LogConfig,
    SchedulerConfig,
    ServerConfig,
)
from quire.base.config.setting import Effect, Setting, State
from quire.base.config.table import SETTINGS, Table

__all__ = [
    "SETTINGS",
    "Asked",
    "CacheConfig",
    "Decision",
    "Effect",
    "EngineConfig",
    "ExpertFacts",
    "FoundParsers",
    "LogConfig",
    "ModelCard",
    "PoolerConfig",
    "PoolingFacts",
    "Resolution",
    "SchedulerConfig",
    "ServerConfig",
    "Setting",
    "State",
    "Table",
    "count_coverage",
    "reasoning_plugin",
    "resolve",
]
