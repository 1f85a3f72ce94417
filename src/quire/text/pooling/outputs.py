"""What a caller of the pooling side gets back. Names and fields are vLLM's; `data` is a NumPy array."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt


@dataclass(slots=True)
class PoolingOutput:
    """float32 of shape (width,), or (tokens, width)."""

    data: npt.NDArray[np.float32]


@dataclass(slots=True)
class EmbeddingOutput:
    embedding: list[float]

    @property
    def hidden_size(self) -> int:
        return len(self.embedding)


@dataclass(slots=True)
class ClassificationOutput:
    probs: list[float]

    @property
    def num_classes(self) -> int:
        return len(self.probs)


@dataclass(slots=True)
class ScoringOutput:
    """How well two texts go together; for embeddings the cosine of their angle."""

    score: float


T = TypeVar("T", PoolingOutput, EmbeddingOutput, ClassificationOutput, ScoringOutput)


@dataclass(slots=True)
class PooledRequestOutput(Generic[T]):
    """One prompt's (of a score: one pair's) output."""

    request_id: str
    outputs: T
    prompt_token_ids: list[int]
    num_cached_tokens: int = 0
    finished: bool = True


class PoolingRequestOutput(PooledRequestOutput[PoolingOutput]): ...


class EmbeddingRequestOutput(PooledRequestOutput[EmbeddingOutput]): ...


class ClassificationRequestOutput(PooledRequestOutput[ClassificationOutput]): ...


class ScoringRequestOutput(PooledRequestOutput[ScoringOutput]): ...
