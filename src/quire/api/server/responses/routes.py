"""The table of routes about responses."""

from __future__ import annotations

from functools import partial

from starlette.routing import Route

from quire.api.server.responses.create import create_response
from quire.api.server.responses.store import ResponseStore
from quire.api.server.responses.stored import cancel_response, delete_response, retrieve_response
from quire.api.server.routing import service_route
from quire.api.server.service import Service

_ROUTES = (
    ("POST", "/v1/responses", create_response),
    ("GET", "/v1/responses/{response_id}", retrieve_response),
    ("DELETE", "/v1/responses/{response_id}", delete_response),
    ("POST", "/v1/responses/{response_id}/cancel", cancel_response),
)


def responses_routes(service: Service) -> list[Route]:
    store = ResponseStore(is_enabled=service.config.stores_responses)
    return [
        service_route(service, method, path, partial(handler, store)) for method, path, handler in _ROUTES
    ]
