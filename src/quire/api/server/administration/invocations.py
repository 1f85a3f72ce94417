"""/invocations: one address for every kind of request, told apart by the fields of its body."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec
from starlette.requests import Request
from starlette.types import ASGIApp, Message

from quire.api.server.body import check_values, read_body
from quire.api.server.errors import HttpError
from quire.api.server.openai import chat_completions, completions
from quire.api.server.pooling import PAIRS_OF_TEXTS, pooled, rerank, score
from quire.api.server.service import Service

Handler = Callable[[Service, Request], Awaitable[ASGIApp]]


@dataclass(frozen=True, slots=True)
class Shape:
    """A body that has all of `fields` is for `handler`."""

    fields: frozenset[str]
    handler: Handler


# The first that fits is taken. Another kind of request is one more row.
SHAPES: tuple[Shape, ...] = (
    Shape(frozenset({"messages"}), chat_completions),
    Shape(frozenset({"prompt"}), completions),
    Shape(frozenset({"query", "documents"}), rerank),
    *(Shape(frozenset(names), score) for names in PAIRS_OF_TEXTS),
    Shape(frozenset({"input"}), pooled),
)


async def invocations(service: Service, request: Request) -> ASGIApp:
    service.admit()  # before the body is read
    body = await read_body(request)
    names = _names(body)
    for shape in SHAPES:
        if shape.fields <= names:
            return await shape.handler(service, _again(request, body))
    known = " or ".join(" and ".join(f"`{name}`" for name in sorted(shape.fields)) for shape in SHAPES)
    raise HttpError(
        f"No kind of request served here has these fields; give {known}.",
        status=400,
        code="invalid_request_error",
    )


def _names(body: bytes) -> set[str]:
    """Of the top-level fields. Raises HttpError for what is no object, or too much."""
    check_values(body)
    try:
        return set(msgspec.json.decode(body, type=dict[str, msgspec.Raw]))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise HttpError("The body must be a JSON object.", status=400, code="invalid_json") from None


def _again(request: Request, body: bytes) -> Request:
    """The request as if nobody had read its body."""
    is_read = False

    async def receive() -> Message:
        nonlocal is_read
        if is_read:
            return await request.receive()
        is_read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return Request(request.scope, receive)
