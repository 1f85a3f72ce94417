"""Quire: LLM inference and serving. What is named here loads on first use: importing stays cheap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quire.api.llm import LLM
    from quire.base.constraints import StructuredOutputsParams
    from quire.base.messages import PoolingParams, SamplingParams
    from quire.text.session import BeamSearchParams

__version__ = "0.1.0"
__all__ = [
    "LLM",
    "BeamSearchParams",
    "PoolingParams",
    "SamplingParams",
    "StructuredOutputsParams",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name == "LLM":
        from quire.api.llm import LLM

        return LLM
    if name in ("SamplingParams", "PoolingParams"):
        from quire.base import messages

        return getattr(messages, name)
    if name == "BeamSearchParams":
        from quire.text.session import BeamSearchParams

        return BeamSearchParams
    if name == "StructuredOutputsParams":
        from quire.base.constraints import StructuredOutputsParams

        return StructuredOutputsParams
    raise AttributeError(f"module 'quire' has no attribute {name!r}")
