"""The table of routes about responses."""

from __future__ import annotations

from functools import partial

from starlette.routing import Route

from quire.api.server.responses.asking import SAMPLING_NAMES
from quire.api.server.responses.create import create_response
from quire.api.server.responses.input_tokens import count_input_tokens
from quire.api.server.responses.protocol import (
    INPUT_TOKENS_FIELDS,
    RESPONSES_FIELDS,
    FunctionTool,
    InputTokensRequest,
    ResponsesRequest,
)
from quire.api.server.responses.reply_types import (
    AnyEvent,
    DeletedResponse,
    InputItems,
    InputTokens,
    Response,
)
from quire.api.server.responses.store import ResponseStore
from quire.api.server.responses.stored import (
    DEFAULT_ITEMS,
    MAX_EVENT,
    MAX_ITEMS,
    ORDERS,
    cancel_response,
    delete_response,
    list_input_items,
    retrieve_response,
)
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
    sampling=SAMPLING_NAMES,
)
_RETRIEVE = Spec(
    summary="Show a stored response, or follow one made in the background",
    tag=_TAG,
    reply=Response,
    event=AnyEvent,
    query={
        "stream": {"type": "boolean"},
        "starting_after": {"type": "integer", "minimum": -1, "maximum": MAX_EVENT},
    },
)
_DELETE = Spec(summary="Forget a stored response", tag=_TAG, reply=DeletedResponse)
_ITEMS = Spec(
    summary="List the items that led to a stored response",
    tag=_TAG,
    reply=InputItems,
    query={
        "limit": {"type": "integer", "minimum": 1, "maximum": MAX_ITEMS, "default": DEFAULT_ITEMS},
        "order": {"enum": list(ORDERS), "default": "desc"},
        "after": {"type": "string"},
    },
)
_COUNT = Spec(
    summary="Count the tokens of a response's prompt",
    tag=_TAG,
    request=InputTokensRequest,
    fields=INPUT_TOKENS_FIELDS,
    inner={"tools": list[FunctionTool]},
    reply=InputTokens,
)
_CANCEL = Spec(summary="End a background response", tag=_TAG, reply=Response)


def responses_routes(service: Service) -> list[Route]:
    store = ResponseStore(is_enabled=service.config.stores_responses)
    return [
        service_route(service, "POST", "/v1/responses", partial(create_response, store), _CREATE),
        service_route(
            service, "POST", "/v1/responses/input_tokens", partial(count_input_tokens, store), _COUNT
        ),
        service_route(service, "GET", _ONE, partial(retrieve_response, store), _RETRIEVE),
        service_route(service, "DELETE", _ONE, partial(delete_response, store), _DELETE),
        service_route(service, "GET", _ONE + "/input_items", partial(list_input_items, store), _ITEMS),
        service_route(service, "POST", _ONE + "/cancel", partial(cancel_response, store), _CANCEL),
    ]
