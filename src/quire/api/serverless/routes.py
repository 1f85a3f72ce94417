"""Which routes of the local server a job may ask for: none that could reach another host or an admin route."""

from __future__ import annotations

import re
from collections.abc import Sequence

from quire.api.serverless.failures import JobError

# one plain path below the root and perhaps a query: no "//", no "@", no escapes, no backslash, nothing but ASCII
_PATH = re.compile(r"(/[A-Za-z0-9_~:.-]+)+", re.ASCII)
_QUERY = re.compile(r"[A-Za-z0-9_~:.,=&-]*", re.ASCII)

ALLOWED_ROUTES = (
    "/v1/*",
    "/v2/*",
    "/tokenize",
    "/detokenize",
    "/health",
    "/ready",
    "/live",
    "/ping",
    "/load",
    "/metrics",
    "/version",
    "/rerank",
    "/score",
    "/pooling",
    "/classify",
)
METHODS = ("GET", "POST", "DELETE")


def checked_route(route: object, more: Sequence[str] = ()) -> str:
    """`route` itself when it is allowed. Raises JobError otherwise."""
    if not isinstance(route, str):
        raise JobError(f"Invalid route: expected text such as /v1/models, got {route!r}", param="route")
    path, _, query = route.partition("?")
    is_plain = _PATH.fullmatch(path) and _QUERY.fullmatch(query)
    if not is_plain or any(part in (".", "..") for part in path.split("/")):
        raise JobError(
            f"Invalid route: {route[:100]!r} is not a plain path such as /v1/models", param="route", code=400
        )
    if not any(_matches(path, allowed) for allowed in (*ALLOWED_ROUTES, *more)):
        raise JobError(
            f"Invalid route: {path[:100]} is not open to jobs; allowed are {', '.join((*ALLOWED_ROUTES, *more))}",
            param="route",
            code=404,
        )
    return route


def checked_method(method: object, *, has_body: bool) -> str:
    """The method in capitals; POST with a body, else GET, where none is given."""
    if method is None or method == "":
        return "POST" if has_body else "GET"
    word = method.upper() if isinstance(method, str) else ""
    if word not in METHODS:
        raise JobError(f"method must be one of {', '.join(METHODS)}, got {method!r}", param="method")
    return word


def _matches(path: str, allowed: str) -> bool:
    if allowed.endswith("/*"):
        return path.startswith(allowed[:-1])
    return path == allowed
