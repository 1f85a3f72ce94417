"""From hidden states to vectors and scores."""

from quire.worker.pooling.pooler import Pooler

__all__ = ["Pooler"]
