"""The pooling routes: embeddings, classification, scores, reranking, and whatever else a model is pooled into."""

from quire.api.server.pooling.rerank import rerank
from quire.api.server.pooling.routes import pooled, pooling_routes
from quire.api.server.pooling.score import PAIRS_OF_TEXTS, score

__all__ = ["PAIRS_OF_TEXTS", "pooled", "pooling_routes", "rerank", "score"]
