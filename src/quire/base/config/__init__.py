"""Ask → resolve → frozen: the settings table, and the immutable configuration that comes of it."""

from quire.base.config.card import ModelCard
from quire.base.config.resolved import (
    DTYPE_BYTES,
    CacheConfig,
    Decision,
    Dtype,
    EngineConfig,
    SchedulerConfig,
    ServerConfig,
)

__all__ = [
    "DTYPE_BYTES",
    "CacheConfig",
    "Decision",
    "Dtype",
    "EngineConfig",
    "ModelCard",
    "SchedulerConfig",
    "ServerConfig",
]
