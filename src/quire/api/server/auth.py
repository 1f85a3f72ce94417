"""API keys: every path needs one, except the few that only say whether the server is well, and its static pages."""

from __future__ import annotations

import hmac

from starlette.types import ASGIApp, Receive, Scope, Send

from quire.api.server.errors import HttpError, error_reply
from quire.api.server.web.pages import PAGE_PATHS

PUBLIC_PATHS = ("/health", "/live", "/ping", "/ready", "/version", *PAGE_PATHS)


class RequireApiKey:
    """ASGI middleware: refuses with 401 unless `Authorization: Bearer` or `x-api-key` carries one of `keys`.

    Decides on the path as received, before routing, so that a route cannot be reached under another spelling.
    """

    def __init__(self, app: ASGIApp, *, keys: list[str], root_path: str = "") -> None:
        self._app = app
        self._keys = [key.encode() for key in keys]
        self._public = frozenset([*PUBLIC_PATHS, *(root_path.rstrip("/") + path for path in PUBLIC_PATHS)])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope["path"] in self._public or self._is_known(scope):
            await self._app(scope, receive, send)
            return
        error = HttpError(
            "This server needs an API key: send the header `Authorization: Bearer <key>` (or `x-api-key: <key>`).",
            status=401,
            code="invalid_api_key",
        )
        await error_reply(error, scope)(scope, receive, send)

    def _is_known(self, scope: Scope) -> bool:
        given = b""
        for name, value in scope["headers"]:
            if name == b"authorization":
                scheme, _, token = value.partition(b" ")
                given = token.strip() if scheme.lower() == b"bearer" else b""
                break  # it decides where it is there
            if name == b"x-api-key":  # Anthropic's
                given = value.strip()
        # Every key is compared, in constant time each: the time taken tells nothing about any key.
        matches = [hmac.compare_digest(given, key) for key in self._keys]
        return any(matches)
