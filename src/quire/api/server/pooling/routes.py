"""The table of pooling routes. A model that generates answers each with a 400 that says how to start another."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from quire.api.server.disconnect import ClientGone
from quire.api.server.pooling.classify import classify
from quire.api.server.pooling.cohere import embed
from quire.api.server.pooling.embeddings import embeddings
from quire.api.server.pooling.raw import pooling
from quire.api.server.pooling.rerank import rerank
from quire.api.server.pooling.score import score
from quire.api.server.service import Service

Handler = Callable[[Service, Request], Awaitable[Response]]

_ROUTES: tuple[tuple[str, Handler], ...] = (
    ("/v1/embeddings", embeddings),
    ("/v2/embed", embed),
    ("/pooling", pooling),
    ("/classify", classify),
    ("/score", score),
    ("/v1/score", score),
    ("/rerank", rerank),
    ("/v1/rerank", rerank),
    ("/v2/rerank", rerank),
)
_CLIENT_CLOSED_REQUEST = 499  # nginx's word for it; only the access log sees it


def pooling_routes(service: Service) -> list[Route]:
    return [Route(path, _endpoint(service, handler), methods=["POST"]) for path, handler in _ROUTES]


def _endpoint(service: Service, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            return await handler(service, request)
        except ClientGone:
            return Response(status_code=_CLIENT_CLOSED_REQUEST)

    return endpoint
