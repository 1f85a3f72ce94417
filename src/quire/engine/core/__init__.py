"""The engine's loop body, free of transport and tensors."""

from quire.engine.core.attempt import Executor
from quire.engine.core.core import EngineCore

__all__ = ["EngineCore", "Executor"]
