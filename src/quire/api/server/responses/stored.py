"""GET and DELETE /v1/responses/{id}, POST …/cancel: what was stored, while it is made or after."""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import ASGIApp

from quire.api.server.replies import json_reply
from quire.api.server.responses.create import followed
from quire.api.server.responses.reply_types import DeletedResponse
from quire.api.server.responses.store import ResponseStore, StoredResponse
from quire.api.server.service import Service
from quire.base.errors import InvalidValue, Unsupported

_TRUTHS = {"true": True, "1": True, "false": False, "0": False}
MAX_NUMBER = 2**31


async def retrieve_response(store: ResponseStore, service: Service, request: Request) -> ASGIApp:
    stored = _stored(store, request)
    query = dict(request.query_params)
    wants_stream = _truth(query.pop("stream", "false"), "stream")
    after = _number(query.pop("starting_after", "-1"), "starting_after")
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


def _number(text: str, field: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 10) or not -1 <= int(text) <= MAX_NUMBER:
        raise InvalidValue(f"{field} must be the number of an event, got {text[:100]!r}", field=field)
    return int(text)
