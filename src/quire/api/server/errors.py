"""Every error as an OpenAI body `{"error": {message, type, param, code}}` with its status and headers.

Anthropic's routes speak of them in their own shape `{"type": "error", "error": {type, message}, "request_id"}`.

A 4xx repeats what the caller sent and how to mend it. A 5xx says nothing about this machine: what happened
goes to the log, never to the wire.
"""

from __future__ import annotations

import logging

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from quire.api.server.replies import json_reply
from quire.api.server.request_id import header_id
from quire.base.errors import CommandFailed, EngineAsleep, EngineDead, EngineFault, Overloaded, UserError

logger = logging.getLogger("quire.server")

MAX_MESSAGE_CHARS = 1000  # a message may quote the caller's value; keep it a sentence


class ErrorDetail(msgspec.Struct, frozen=True):
    message: str
    type: str
    param: str | None
    code: str


class ErrorBody(msgspec.Struct, frozen=True):
    error: ErrorDetail


class AnthropicErrorDetail(msgspec.Struct, frozen=True):
    type: str
    message: str


class AnthropicErrorBody(msgspec.Struct, frozen=True, tag_field="type", tag="error"):
    error: AnthropicErrorDetail
    request_id: str | None = None


class HttpError(UserError):
    """A fault of the request itself rather than of one field: bad JSON, no such route, no key ..."""

    def __init__(self, message: str, *, status: int, code: str, field: str | None = None) -> None:
        super().__init__(message, field=field)
        self.status = status
        self.code = code


class Unavailable(EngineFault):
    """Nothing can be generated now (loading, draining); ask again after `retry_after_s` seconds."""

    status = 503
    code = "service_unavailable"

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s


class SequenceFailed(EngineFault):
    """One sequence ended with finish_reason "error", which the log explains; the engine goes on."""

    code = "generation_failed"
    message = "This request could not be computed and was ended; the server's log says why."


_STATUS_CODES = {
    400: "invalid_request_error",
    404: "not_found",
    405: "method_not_allowed",
    413: "request_too_large",
}


def error_body(error: Exception) -> ErrorBody:
    """What the wire may know of `error`."""
    if isinstance(error, UserError):
        return _body(error.message, "invalid_request_error", error.field, error.code)
    if isinstance(error, Overloaded):
        return _body(str(error), error.code, None, "overloaded")
    if isinstance(error, (Unavailable, SequenceFailed)):
        return _body(error.message, _fault_type(error.status), None, error.code)
    if isinstance(error, (EngineAsleep, CommandFailed)):
        return _body(str(error), _fault_type(error.status), None, error.code)
    if isinstance(error, EngineDead):
        return _body("The engine stopped while working on this request.", error.code, None, "engine_dead")
    return _body(
        "The server failed on this request; its log says why.",
        "internal_server_error",
        None,
        "internal_server_error",
    )


ANTHROPIC_PATH = "/v1/messages"
_ANTHROPIC_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
}


def anthropic_error_body(error: Exception, request_id: str | None = None) -> AnthropicErrorBody:
    """What `error_body` says, in Anthropic's words. The message names the field, for there is no other place."""
    is_busy = isinstance(error, (Overloaded, Unavailable)) and error_status(error) != 429
    kind = "overloaded_error" if is_busy else _anthropic_type(error_status(error))
    return AnthropicErrorBody(AnthropicErrorDetail(kind, error_body(error).error.message), request_id)


def _anthropic_type(status: int) -> str:
    return _ANTHROPIC_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")


def _speaks_anthropic(scope: Scope) -> bool:
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    return path == ANTHROPIC_PATH or path.startswith(ANTHROPIC_PATH + "/")


def error_status(error: Exception) -> int:
    return error.status if isinstance(error, (UserError, EngineFault)) else 500


def error_reply(error: Exception, scope: Scope) -> Response:
    """The whole HTTP reply to what `scope` asked. Retrying clients are told when to come back, or not to."""
    status = error_status(error)
    headers: dict[str, str] = {}
    if isinstance(error, (Overloaded, Unavailable)):
        headers["retry-after"] = str(error.retry_after_s)
    elif isinstance(error, (EngineDead, EngineAsleep)):
        headers["retry-after"] = "5"
    elif status == 401:
        headers["www-authenticate"] = "Bearer"
    elif status >= 500:
        headers["x-should-retry"] = "false"  # the same request would fail the same way
    body: ErrorBody | AnthropicErrorBody = error_body(error)
    if _speaks_anthropic(scope):
        body = anthropic_error_body(error, header_id(scope))
    return json_reply(body, status=status, headers=headers)


async def on_user_error(request: Request, error: Exception) -> Response:
    return error_reply(error, request.scope)


async def on_engine_fault(request: Request, error: Exception) -> Response:
    if not isinstance(error, (Overloaded, Unavailable)):
        logger.error("%s failed: %s: %s", request.url.path, type(error).__name__, error)
    return error_reply(error, request.scope)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """404 and 405 come from the router as Starlette's own exception."""
    assert isinstance(error, HTTPException)
    code = _STATUS_CODES.get(error.status_code, "invalid_request_error")
    message = _ROUTER_MESSAGES.get(error.status_code, "{detail}").format(
        method=request.method, path=request.scope["path"], detail=error.detail
    )
    body: ErrorBody | AnthropicErrorBody = _body(message, "invalid_request_error", None, code)
    if _speaks_anthropic(request.scope):
        detail = AnthropicErrorDetail(_anthropic_type(error.status_code), message)
        body = AnthropicErrorBody(detail, header_id(request.scope))
    return json_reply(body, status=error.status_code, headers=error.headers)


async def on_bug(request: Request, error: Exception) -> Response:
    """Anything nobody expected. The server logs the traceback; the caller learns only that it is ours."""
    return error_reply(error, request.scope)


_ROUTER_MESSAGES = {
    404: "There is no route {method} {path} here.",
    405: "{path} does not take {method}.",
}


def _fault_type(status: int) -> str:
    return "service_unavailable" if status == 503 else "internal_server_error"


def _body(message: str, kind: str, param: str | None, code: str) -> ErrorBody:
    if len(message) > MAX_MESSAGE_CHARS:
        message = message[:MAX_MESSAGE_CHARS] + " …"
    return ErrorBody(ErrorDetail(message, kind, param, code))
