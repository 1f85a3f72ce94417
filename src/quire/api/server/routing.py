"""A route and what the OpenAPI document says of it, declared together: one `Spec` per route.

`service_route` makes a Starlette route of a handler; a caller who hangs up before the reply ends it quietly.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from quire.api.server.disconnect import ClientGone
from quire.api.server.errors import ErrorBody
from quire.api.server.fields import FieldTable
from quire.api.server.service import Service

Handler = Callable[[Service, Request], Awaitable[ASGIApp]]
Endpoint = Callable[[Request], Awaitable[ASGIApp]]

_CLIENT_CLOSED_REQUEST = 499  # nginx's word for it; only the access log sees it


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What a route takes and gives. Types are msgspec Structs, or anything msgspec has a schema for.

    `fields` is the table that the body is checked against; `inner` holds the types of values that are checked
    apart, one by one. `event` is the type of each event where a request may ask for a stream, `error` that of a
    refusal's body. Without `reply` nothing is said of a reply but its media type. `query` holds the parameters
    after the `?` as JSON Schemas. `sampling` says that the request's numbers are SamplingParams' and in its ranges,
    and which of them it calls otherwise.
    """

    summary: str
    tag: str
    request: Any = None
    fields: FieldTable | None = None
    inner: Mapping[str, Any] | None = None
    reply: Any = None
    event: Any = None
    error: type = ErrorBody
    media_type: str = "application/json"
    status: int = 200
    query: Mapping[str, dict[str, Any]] | None = None
    sampling: Mapping[str, str] | None = None


class DocumentedRoute(Route):
    """A Starlette route with its Spec."""

    def __init__(self, path: str, endpoint: Endpoint, methods: Sequence[str], spec: Spec) -> None:
        super().__init__(path, endpoint, methods=list(methods))
        self.spec = spec


def service_route(
    service: Service, method: str, path: str, handler: Handler, spec: Spec | None = None
) -> Route:
    """A route of a handler that takes the Service; without a Spec the OpenAPI document is silent about it."""

    async def endpoint(request: Request) -> ASGIApp:
        try:
            return await handler(service, request)
        except ClientGone:
            return Response(status_code=_CLIENT_CLOSED_REQUEST)

    return (
        DocumentedRoute(path, endpoint, [method], spec) if spec else Route(path, endpoint, methods=[method])
    )
