"""The pooling routes: embeddings, classification, scores, reranking, and whatever else a model is pooled into."""

from quire.api.server.pooling.routes import pooling_routes

__all__ = ["pooling_routes"]
