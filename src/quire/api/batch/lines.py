"""Lines of OpenAI's batch format: a request as it stands in the input file, a result as it goes into the output."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import msgspec

MAX_LINE_BYTES = 64 * 1024 * 1024
URLS = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/messages",
    "/v1/embeddings",
    "/v1/score",
    "/score",
    "/v1/rerank",
    "/v2/rerank",
    "/rerank",
)


class BatchError(msgspec.Struct, frozen=True):
    code: str
    message: str


class BatchResponse(msgspec.Struct, frozen=True):
    status_code: int
    request_id: str
    body: msgspec.Raw


class ResultLine(msgspec.Struct, frozen=True):
    """`response` is what the route answered; `error` says why where that is no success, or nothing was asked."""

    id: str
    custom_id: str | None
    response: BatchResponse | None
    error: BatchError | None


@dataclass(frozen=True, slots=True)
class RequestLine:
    """One line of the input. `problem` says why it cannot be asked; the other fields then mean little."""

    custom_id: str | None = None
    url: str = ""
    body: bytes = b""
    problem: str = ""


class _Asked(msgspec.Struct):
    custom_id: str
    url: str
    body: msgspec.Raw
    method: str = "POST"


class _Stream(msgspec.Struct):
    stream: Any = None


def read_lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines that are not blank, one at a time; of one longer than may be, its beginning."""
    while line := file.readline(MAX_LINE_BYTES + 1):
        rest = line
        while len(rest) > MAX_LINE_BYTES and not rest.endswith(b"\n"):
            rest = file.readline(MAX_LINE_BYTES + 1)
        if line.strip():
            yield line


def parse_line(line: bytes) -> RequestLine:
    """Never raises: what is wrong with a line becomes its result."""
    if len(line) > MAX_LINE_BYTES:
        return RequestLine(problem=f"the line is longer than {MAX_LINE_BYTES >> 20} MiB")
    try:
        asked = msgspec.json.decode(line, type=_Asked)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return RequestLine(custom_id=_custom_id(line), problem=f"the line is not a batch request: {error}")
    body = bytes(asked.body)
    if asked.method.upper() != "POST":
        problem = f"method must be POST, got {asked.method[:40]!r}"
    elif asked.url not in URLS:
        problem = f"url must be one of {', '.join(URLS)}; got {asked.url[:100]!r}"
    elif not body.startswith(b"{"):
        problem = "body must be an object"
    elif _streams(body):
        problem = "stream has no meaning in a batch; leave it out"
    else:
        problem = ""
    return RequestLine(asked.custom_id, asked.url, body, problem)


def _custom_id(line: bytes) -> str | None:
    """Of a line that is no request, where it has one all the same."""
    try:
        found = msgspec.json.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    name = found.get("custom_id") if isinstance(found, dict) else None
    return name if isinstance(name, str) else None


def _streams(body: bytes) -> bool:
    try:
        return bool(msgspec.json.decode(body, type=_Stream).stream)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False  # the route says what is wrong with it


def refused_line(line: RequestLine) -> ResultLine:
    return ResultLine(_new_id(), line.custom_id, None, BatchError("invalid_request", line.problem))


def answered_line(line: RequestLine, status: int, body: bytes) -> ResultLine:
    """`body` is JSON, as every route answers."""
    response = BatchResponse(status, f"req-{uuid.uuid4().hex}", msgspec.Raw(body or b"null"))
    error = None if status < 400 else BatchError(str(status), _message(body))
    return ResultLine(_new_id(), line.custom_id, response, error)


def _message(body: bytes) -> str:
    try:
        found = msgspec.json.decode(body)
        return str(found["error"]["message"])
    except (msgspec.MsgspecError, UnicodeDecodeError, LookupError, TypeError):
        return body[:1000].decode("utf-8", "replace")


def _new_id() -> str:
    return f"batch_req_{uuid.uuid4().hex}"


encode_line = msgspec.json.Encoder().encode
