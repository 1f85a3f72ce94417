"""X-Request-Id: taken from the caller or made here, and given back on every reply where enabled."""

from __future__ import annotations

import re
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from quire.base.errors import InvalidValue

MAX_ID_CHARS = 96  # the engine's id is this and a little more, at most 128
_SCOPE_KEY = "quire.request_id"
_VISIBLE = re.compile(r"[\x21-\x7e]+")


def is_usable_id(text: str) -> bool:
    """Short and printable, so that it can stand in a header and a log line."""
    return len(text) <= MAX_ID_CHARS and _VISIBLE.fullmatch(text) is not None


def choose_request_id(asked: str | None, request: Request) -> str:
    """The field `request_id`, else the id of the reply's header. Raises InvalidValue naming `request_id`."""
    if asked is None:
        return header_id(request.scope)
    if not is_usable_id(asked):
        raise InvalidValue(
            f"request_id must be 1 to {MAX_ID_CHARS} visible ASCII characters", field="request_id"
        )
    return asked


def header_id(scope: Scope) -> str:
    """The caller's X-Request-Id where it sent a usable one, else a new id; the same one for the whole request."""
    known: str | None = scope.get(_SCOPE_KEY)
    if known is None:
        given = Headers(scope=scope).get("x-request-id", "")
        known = scope[_SCOPE_KEY] = given if is_usable_id(given) else uuid.uuid4().hex
    return known


class RequestIdHeader:
    """ASGI middleware: adds X-Request-Id to every reply, the caller's own where it sent a usable one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = header_id(scope)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        await self._app(scope, receive, send_with_id)
