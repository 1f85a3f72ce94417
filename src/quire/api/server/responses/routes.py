"""The table of routes about responses."""

from __future__ import annotations

from functools import partial

from starlette.routing import Route

from quire.api.server.responses.create import create_response
from quire.api.server.responses.protocol import RESPONSES_FIELDS, FunctionTool, ResponsesRequest
from quire.api.server.responses.reply_types import AnyEvent, DeletedResponse, Response
from quire.api.server.responses.store import ResponseStore
from quire.api.server.responses.stored import cancel_response, delete_response, retrieve_response
from quire.api.server.routing import Spec, service_route
from quire.api.server.service import Service

_TAG = "Responses"
_ONE = "/v1/responses/{response_id}"
_CREATE = Spec(
    summary="Answer a conversation of items",
    tag=_TAG,
    request=ResponsesRequest,
    fields=RESPONSES_FIELDS,
    inner={"tools": list[FunctionTool]},
    reply=Response,
    event=AnyEvent,
)
_RETRIEVE = Spec(
    summary="Show a stored response, or follow one made in the background",
    tag=_TAG,
    reply=Response,
    event=AnyEvent,
    query={"stream": {"type": "boolean"}, "starting_after": {"type": "integer", "minimum": -1}},
)
_DELETE = Spec(summary="Forget a stored response", tag=_TAG, reply=DeletedResponse)
_CANCEL = Spec(summary="End a background response", tag=_TAG, reply=Response)


def responses_routes(service: Service) -> list[Route]:
    store = ResponseStore(is_enabled=service.config.stores_responses)
    return [
        service_route(service, "POST", "/v1/responses", partial(create_response, store), _CREATE),
        service_route(service, "GET", _ONE, partial(retrieve_response, store), _RETRIEVE),
        service_route(service, "DELETE", _ONE, partial(delete_response, store), _DELETE),
        service_route(service, "POST", _ONE + "/cancel", partial(cancel_response, store), _CANCEL),
    ]
