"""The two kinds of reply: a JSON body, and a stream of server-sent events. Both encode msgspec Structs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.responses import Response
from starlette.types import Send

_encoder = msgspec.json.Encoder()

DONE = b"data: [DONE]\n\n"


def json_reply(body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(_encoder.encode(body), status, dict(headers or {}), "application/json")


def event(body: Any) -> bytes:
    """One server-sent event holding `body` as JSON (which never contains a raw line break)."""
    return b"data: " + _encoder.encode(body) + b"\n\n"


def named_event(name: str, body: Any) -> bytes:
    """A server-sent event that also says its name outside of the JSON."""
    return b"event: " + name.encode() + b"\ndata: " + _encoder.encode(body) + b"\n\n"


async def start_events(send: Send, headers: list[tuple[bytes, bytes]] | None = None) -> None:
    """Send status 200 and the headers of an event stream."""
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [
                (b"content-type", b"text/event-stream; charset=utf-8"),
                (b"cache-control", b"no-cache"),
                (b"x-accel-buffering", b"no"),  # reverse proxies must pass each event on at once
                *(headers or []),
            ],
        }
    )


async def send_events(send: Send, data: bytes, *, last: bool = False) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": not last})
