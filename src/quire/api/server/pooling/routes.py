"""The table of pooling routes. A model that generates answers each with a 400 that says how to start another."""

from __future__ import annotations

from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp

from quire.api.server.pooling.classify import CLASSIFY_FIELDS, ClassifyReply, ClassifyRequest, classify
from quire.api.server.pooling.cohere import EMBED_FIELDS, EmbedRequest, embed
from quire.api.server.pooling.embeddings import EMBEDDING_FIELDS, EmbeddingRequest, embeddings
from quire.api.server.pooling.numbers import ItemList
from quire.api.server.pooling.raw import POOLING_FIELDS, PoolingRequest, pooling
from quire.api.server.pooling.rerank import RERANK_FIELDS, RerankReply, RerankRequest, rerank
from quire.api.server.pooling.score import SCORE_FIELDS, ScoreReply, ScoreRequest, score
from quire.api.server.routing import Handler, Spec, service_route
from quire.api.server.service import Service

_TAG = "Pooling"


def _same_as(path: str, reply: type) -> Spec:
    """Of a route's other names: its request is described once."""
    return Spec(summary=f"The same as {path}", tag=_TAG, reply=reply)


_ROUTES: tuple[tuple[str, Handler, Spec], ...] = (
    (
        "/v1/embeddings",
        embeddings,
        Spec(
            summary="A vector for each text",
            tag=_TAG,
            request=EmbeddingRequest,
            fields=EMBEDDING_FIELDS,
            reply=ItemList,
        ),
    ),
    (
        "/v2/embed",
        embed,
        Spec(
            summary="A vector for each text, in Cohere's shapes",
            tag=_TAG,
            request=EmbedRequest,
            fields=EMBED_FIELDS,
        ),
    ),
    (
        "/pooling",
        pooling,
        Spec(
            summary="Whatever the model is pooled into, as it is",
            tag=_TAG,
            request=PoolingRequest,
            fields=POOLING_FIELDS,
            reply=ItemList,
        ),
    ),
    (
        "/classify",
        classify,
        Spec(
            summary="Probabilities of the model's labels for each text",
            tag=_TAG,
            request=ClassifyRequest,
            fields=CLASSIFY_FIELDS,
            reply=ClassifyReply,
        ),
    ),
    (
        "/v1/score",
        score,
        Spec(
            summary="How well texts go together, pair by pair",
            tag=_TAG,
            request=ScoreRequest,
            fields=SCORE_FIELDS,
            reply=ScoreReply,
        ),
    ),
    ("/score", score, _same_as("/v1/score", ScoreReply)),
    (
        "/v1/rerank",
        rerank,
        Spec(
            summary="Documents in the order of how well they answer a query",
            tag=_TAG,
            request=RerankRequest,
            fields=RERANK_FIELDS,
            reply=RerankReply,
        ),
    ),
    ("/rerank", rerank, _same_as("/v1/rerank", RerankReply)),
    ("/v2/rerank", rerank, _same_as("/v1/rerank", RerankReply)),
)


async def pooled(service: Service, request: Request) -> ASGIApp:
    """`input`, for whatever the model is for."""
    task = service.engine_config.pooler.task if service.engine_config.pooler is not None else ""
    handler: Handler = {"embed": embeddings, "classify": classify}.get(task, pooling)
    return await handler(service, request)


def pooling_routes(service: Service) -> list[Route]:
    return [service_route(service, "POST", *row) for row in _ROUTES]
