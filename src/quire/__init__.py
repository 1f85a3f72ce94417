"""Quire: LLM inference and serving. What is named here loads on first use: importing stays cheap."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quire.api.async_llm import AsyncLLM
    from quire.api.async_llm import AsyncLLM as AsyncLLMEngine
    from quire.api.llm import LLM
    from quire.base.constraints import StructuredOutputsParams
    from quire.base.messages import PoolingParams, SamplingParams
    from quire.text.session import BeamSearchParams

__version__ = "0.1.0"
__all__ = [
    "LLM",
    "AsyncLLM",
    "AsyncLLMEngine",
    "BeamSearchParams",
    "PoolingParams",
    "SamplingParams",
    "StructuredOutputsParams",
    "__version__",
]

_PLACES = {  # name → module, and its name there
    "AsyncLLM": ("quire.api.async_llm", "AsyncLLM"),
    "AsyncLLMEngine": ("quire.api.async_llm", "AsyncLLM"),
    "BeamSearchParams": ("quire.text.session", "BeamSearchParams"),
    "LLM": ("quire.api.llm", "LLM"),
    "PoolingParams": ("quire.base.messages", "PoolingParams"),
    "SamplingParams": ("quire.base.messages", "SamplingParams"),
    "StructuredOutputsParams": ("quire.base.constraints", "StructuredOutputsParams"),
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'quire' has no attribute {name!r}")
    module, there = _PLACES[name]
    return getattr(import_module(module), there)
