"""The table of routes about responses."""

from __future__ import annotations

from functools import partial

from starlette.routing import Route

from quire.api.server.responses.create import create_response
from quire.api.server.responses.protocol import RESPONSES_FIELDS, ResponsesRequest
from quire.api.server.responses.reply_types import DeletedResponse, Response
from quire.api.server.responses.store import ResponseStore
from quire.api.server.responses.stored import cancel_response, delete_response, retrieve_response
from quire.api.server.routing import Spec, service_route
from quire.api.server.service import Service

_TAG, _ONE = "Responses", "/v1/responses/{response_id}"

_ROUTES = (
    (
        "POST",
        "/v1/responses",
        create_response,
        Spec(
            summary="Answer, in the shapes of OpenAI's Responses API",
            tag=_TAG,
            request=ResponsesRequest,
            fields=RESPONSES_FIELDS,
            reply=Response,
        ),
    ),
    ("GET", _ONE, retrieve_response, Spec(summary="A stored response", tag=_TAG, reply=Response)),
    (
        "DELETE",
        _ONE,
        delete_response,
        Spec(summary="Forget a stored response", tag=_TAG, reply=DeletedResponse),
    ),
    (
        "POST",
        f"{_ONE}/cancel",
        cancel_response,
        Spec(summary="Stop a response that is made in the background", tag=_TAG, reply=Response),
    ),
)


def responses_routes(service: Service) -> list[Route]:
    store = ResponseStore(is_enabled=service.config.stores_responses)
    return [
        service_route(service, method, path, partial(handler, store), spec)
        for method, path, handler, spec in _ROUTES
    ]
