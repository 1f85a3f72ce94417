"""A Starlette route of a handler that takes the Service; a caller who hangs up before the reply ends it quietly."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from quire.api.server.disconnect import ClientGone
from quire.api.server.service import Service

Handler = Callable[[Service, Request], Awaitable[ASGIApp]]

_CLIENT_CLOSED_REQUEST = 499  # nginx's word for it; only the access log sees it


def service_route(service: Service, method: str, path: str, handler: Handler) -> Route:
    async def endpoint(request: Request) -> ASGIApp:
        try:
            return await handler(service, request)
        except ClientGone:
            return Response(status_code=_CLIENT_CLOSED_REQUEST)

    return Route(path, endpoint, methods=[method])
