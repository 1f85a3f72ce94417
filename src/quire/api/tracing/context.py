"""TraceContext: what an HTTP request says of the trace it belongs to, kept where its spans are made."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Receive, Scope, Send

_W3C_HEADERS = (b"traceparent", b"tracestate")
_CHAT_PATHS = ("/chat/completions", "/chat/completions/batch", "/messages", "/responses")


@dataclass(frozen=True, slots=True)
class Call:
    """`headers` are those of W3C's Trace Context; `operation` is OpenTelemetry's word for what the route does."""

    headers: Mapping[str, str] = field(default_factory=dict)
    operation: str = "text_completion"


_current: ContextVar[Call] = ContextVar("quire_traced_call", default=Call())  # noqa: B039 - frozen


def current_call() -> Call:
    """Of the HTTP request that the running task works for."""
    return _current.get()


class TraceContext:
    """ASGI middleware: remembers the call for everything its task, and tasks it makes, go on to do."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {
            name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in _W3C_HEADERS
        }
        operation = "chat" if scope["path"].endswith(_CHAT_PATHS) else "text_completion"
        token = _current.set(Call(headers, operation))
        try:
            await self._app(scope, receive, send)
        finally:
            _current.reset(token)
