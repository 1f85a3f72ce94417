"""Texts to vectors and scores, on the text's side: limits, the engine's requests, what their numbers mean."""

from quire.text.pooling.outputs import (
    ClassificationOutput,
    ClassificationRequestOutput,
    EmbeddingOutput,
    EmbeddingRequestOutput,
    PoolingOutput,
    PoolingRequestOutput,
    ScoringOutput,
    ScoringRequestOutput,
)
from quire.text.pooling.preparing import (
    Pooled,
    PooledPrompt,
    collect,
    pool,
    pooler_of,
    prepare_pooling,
    with_text_prompt,
)
from quire.text.pooling.scoring import compare, way_to_score

__all__ = [
    "ClassificationOutput",
    "ClassificationRequestOutput",
    "EmbeddingOutput",
    "EmbeddingRequestOutput",
    "Pooled",
    "PooledPrompt",
    "PoolingOutput",
    "PoolingRequestOutput",
    "ScoringOutput",
    "ScoringRequestOutput",
    "collect",
    "compare",
    "pool",
    "pooler_of",
    "prepare_pooling",
    "way_to_score",
    "with_text_prompt",
]
