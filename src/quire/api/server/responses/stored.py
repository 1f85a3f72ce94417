"""GET and DELETE /v1/responses/{id}, POST …/cancel, GET …/input_items: what was stored, while it is made or after."""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import ASGIApp

from quire.api.server.replies import json_reply
from quire.api.server.responses.create import followed
from quire.api.server.responses.protocol import INCLUDABLE
from quire.api.server.responses.reply_types import DeletedResponse, InputItems
from quire.api.server.responses.store import ResponseStore, StoredResponse
from quire.api.server.service import Service
from quire.base.errors import InvalidValue, Unsupported

_TRUTHS = {"true": True, "1": True, "false": False, "0": False}
MAX_EVENT = 2**31
DEFAULT_ITEMS, MAX_ITEMS = 20, 100  # of a page
ORDERS = ("asc", "desc")


async def retrieve_response(store: ResponseStore, service: Service, request: Request) -> ASGIApp:
    stored = _stored(store, request)
    query = dict(request.query_params)
    wants_stream = _truth(query.pop("stream", "false"), "stream")
    after = _number(query.pop("starting_after", "-1"), "starting_after", (-1, MAX_EVENT))
    if _truth(query.pop("include_obfuscation", "false"), "include_obfuscation"):
        raise Unsupported(
            "include_obfuscation is not supported: nothing is added", field="include_obfuscation"
        )
    if query:
        name = min(query)[:100]
        raise InvalidValue(f"unknown parameter `{name}`; there is stream and starting_after", field=name)
    if not wants_stream:
        if after != -1:
            raise InvalidValue("starting_after needs stream=true", field="starting_after")
        return json_reply(stored.response)
    if not stored.response.background:
        raise InvalidValue("stream: only background responses can be followed", field="stream")
    return followed(service, stored, after)


async def list_input_items(store: ResponseStore, _service: Service, request: Request) -> ASGIApp:
    """A page of the items that led to the answer, the newest first unless told otherwise."""
    stored = _stored(store, request)
    query = request.query_params
    order, after = query.get("order", "desc"), query.get("after")
    limit = _number(query.get("limit", str(DEFAULT_ITEMS)), "limit", (1, MAX_ITEMS))
    if order not in ORDERS:
        raise InvalidValue(f"order must be {' or '.join(ORDERS)}, got {order[:100]!r}", field="order")
    for name, value in query.multi_items():
        if name not in ("order", "after", "limit", "include", "include[]"):
            raise InvalidValue(
                f"unknown parameter `{name[:100]}`; there is limit, order, after and include",
                field=name[:100],
            )
        if name.startswith("include") and value not in INCLUDABLE:
            raise Unsupported(
                f"include: {value[:100]!r} is not supported; there is {' and '.join(INCLUDABLE)}",
                field="include",
            )
    items = stored.items if order == "asc" else stored.items[::-1]
    if after is not None:
        ids = [item["id"] for item in items]
        if after not in ids:
            raise InvalidValue(f"after: the response has no input item {after[:100]!r}", field="after")
        items = items[ids.index(after) + 1 :]
    page = items[:limit]
    first_id, last_id = (page[0]["id"], page[-1]["id"]) if page else (None, None)
    has_more = len(items) > limit
    return json_reply(InputItems(data=page, first_id=first_id, last_id=last_id, has_more=has_more))


async def cancel_response(store: ResponseStore, _service: Service, request: Request) -> ASGIApp:
    """Ends a background response. One that is over stays as it is."""
    stored = _stored(store, request)
    if not stored.response.background:
        raise InvalidValue(
            "response_id: only background responses can be cancelled; hang up to end another",
            field="response_id",
        )
    await stored.cancel()
    return json_reply(stored.response)


async def delete_response(store: ResponseStore, _service: Service, request: Request) -> ASGIApp:
    """Forgets it, and ends it where it still runs."""
    stored = _stored(store, request)
    store.drop(stored)
    await stored.cancel()
    return json_reply(DeletedResponse(stored.response.id))


def _stored(store: ResponseStore, request: Request) -> StoredResponse:
    return store.get(request.path_params["response_id"])


def _truth(text: str, field: str) -> bool:
    if text.lower() not in _TRUTHS:
        raise InvalidValue(f"{field} must be true or false, got {text[:100]!r}", field=field)
    return _TRUTHS[text.lower()]


def _number(text: str, field: str, ends: tuple[int, int]) -> int:
    low, high = ends
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 10) or not low <= int(text) <= high:
        raise InvalidValue(f"{field} must be a number from {low} to {high}, got {text[:100]!r}", field=field)
    return int(text)
