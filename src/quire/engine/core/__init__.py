"""The engine's loop body, free of transport and tensors."""

from quire.engine.core.core import EngineCore, Executor

__all__ = ["EngineCore", "Executor"]
