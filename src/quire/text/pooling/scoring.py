"""Scores of pairs of texts, by whatever the model gives: vectors, vectors of tokens, or a classifier of the pair."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from quire.base.config import EngineConfig
from quire.base.errors import Unsupported
from quire.text.pooling.preparing import pooler_of

Way = Literal["vectors", "token vectors", "classifier"]


def way_to_score(config: EngineConfig) -> Way:
    """Raises Unsupported for a model that cannot compare texts."""
    pooler = pooler_of(config)
    if pooler.task == "token_embed":
        return "token vectors"
    if "embed" in pooler.tasks:
        return "vectors"
    if "classify" in pooler.tasks and pooler.num_labels == 1:
        return "classifier"
    what = (
        f"a classifier of {pooler.num_labels} labels"
        if "classify" in pooler.tasks
        else "a classifier of tokens"
    )
    raise Unsupported(f"scores are not supported: this model is {what}; a classifier of pairs has one label")


def compare(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> float:
    """Of two vectors the cosine of their angle, 0.0 where one has no length. Of two lists of vectors, one for each
    token: each of the first finds its nearest in the second (late interaction, MaxSim)."""
    if first.ndim == 2:
        return float((first @ second.T).max(axis=1).sum())
    lengths = float(np.linalg.norm(first)) * float(np.linalg.norm(second))
    return float(np.dot(first, second)) / lengths if lengths else 0.0
