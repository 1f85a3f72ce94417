"""From the bytes of a request to a typed Struct: size, content type, JSON, field table, types; in that order.

A `null` means the field was left out. Errors name the field, as a path where it lies deeper.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request

from quire.api.server.disconnect import ClientGone
from quire.api.server.errors import HttpError
from quire.api.server.fields import FieldTable
from quire.base.errors import InvalidValue

MAX_BODY_BYTES = 32 * 1024 * 1024
MAX_DEPTH = 64  # of nested arrays and objects; a tool's JSON Schema stays well below
MAX_CONTAINERS = 100_000  # arrays and objects in a body: each costs a hundred times its two bytes
MAX_VALUES = 2**20  # values in a body; token ids of a whole context are the most anyone needs

T = TypeVar("T", bound=msgspec.Struct)


async def read_request(request: Request, type_: type[T], table: FieldTable) -> T:
    """The decoded request. Raises UserError naming the first field that is not right."""
    _check_headers(request)
    fields = _decode_object(await read_body(request))
    return convert(table.check(fields), type_)


def convert(fields: object, type_: type[T], *, under: str = "", strict: bool = True) -> T:
    """`fields` as `type_`, or InvalidValue with the path of the offending value (below `under`). Not `strict`, a text
    may stand for a number or a truth value."""
    try:
        return msgspec.convert(fields, type_, str_keys=True, strict=strict)
    except msgspec.ValidationError as error:
        raise _explain(error, under) from None


def _check_headers(request: Request) -> None:
    media_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media_type != "application/json":
        given = f"`{media_type[:100]}`" if media_type else "none"
        raise HttpError(
            f"The content type must be `application/json`, got {given}: add the header "
            "`Content-Type: application/json`.",
            status=400,
            code="unsupported_content_type",
        )
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise HttpError(
            "Compressed request bodies are not taken; send the JSON as it is.",
            status=400,
            code="unsupported_content_encoding",
        )


async def read_body(request: Request) -> bytes:
    """The body's bytes. Raises HttpError for one that is too large or ends early."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > MAX_BODY_BYTES:
        raise _too_large()
    parts: list[bytes] = []
    size_bytes = 0
    try:
        async for part in request.stream():
            size_bytes += len(part)
            if size_bytes > MAX_BODY_BYTES:
                raise _too_large()
            parts.append(part)
    except ClientDisconnect:
        raise HttpError("The body ended early.", status=400, code="incomplete_body") from None
    await asyncio.sleep(0)  # of a caller who has hung up already the loop hears in its next turn
    if await request.is_disconnected():
        raise ClientGone
    return b"".join(parts)


def _too_large() -> HttpError:
    return HttpError(
        f"The body may hold at most {MAX_BODY_BYTES // 2**20} MiB.", status=413, code="request_too_large"
    )


def _decode_object(body: bytes) -> dict[str, Any]:
    check_values(body)
    try:
        fields = msgspec.json.decode(body)
    except msgspec.ValidationError as error:  # well-formed JSON whose number nothing can hold
        raise InvalidValue(f"{_number_field(body)}: {_sentence(error)}", field=_number_field(body)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise HttpError(f"The body is not valid JSON: {error}", status=400, code="invalid_json") from None
    except RecursionError:
        raise _too_deep() from None
    if not isinstance(fields, dict):
        raise HttpError("The body must be a JSON object.", status=400, code="invalid_json")
    if _num_containers(body) > MAX_DEPTH:
        _check_depth(fields)
    return fields


def check_values(body: bytes) -> None:
    """Refuse what would decode into millions of objects, by counting marks before anything is decoded."""
    if _num_containers(body) <= MAX_CONTAINERS and body.count(b",") <= MAX_VALUES:
        return
    bare = body.replace(rb"\\", b"").replace(
        rb"\"", b""
    )  # of escapes, so that every quote ends or begins a text
    if bare.count(b'"') <= 2 * MAX_VALUES:
        marks = b"".join(bare.split(b'"')[::2])  # marks inside texts do not count
        if _num_containers(marks) <= MAX_CONTAINERS and marks.count(b",") <= MAX_VALUES:
            return
    raise HttpError(
        f"The body may hold at most {MAX_CONTAINERS} arrays and objects and {MAX_VALUES} values.",
        status=413,
        code="request_too_large",
    )


def _num_containers(body: bytes) -> int:
    return body.count(b"[") + body.count(b"{")


def _check_depth(fields: dict[str, Any]) -> None:
    """Refuse deep nesting before anything recursive (templates, conversions) meets it."""
    level: list[Any] = [fields]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for value in level:
            items = value.values() if isinstance(value, dict) else value
            below.extend(item for item in items if isinstance(item, (dict, list)))
        if not below:
            return
        level = below
    raise _too_deep()


def _too_deep() -> HttpError:
    return HttpError(
        f"The body nests arrays and objects more than {MAX_DEPTH} deep.", status=400, code="invalid_json"
    )


def _number_field(body: bytes) -> str | None:
    """Which top-level field holds the number that does not decode."""
    try:
        raw = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    for name, value in raw.items():
        try:
            msgspec.json.decode(value)
        except msgspec.DecodeError:
            return name
    return None


# msgspec ends its messages with " - at `$.path`", or " - at `key` in `$.path`" for a dictionary's key
_LOCATION = re.compile(r" - at (?:`(?:key|value)` in )?`\$\.?([^`]*)`$")
_MISSING = re.compile(r"^Object missing required field `([^`]*)`$")
_UNKNOWN = re.compile(r"^Object contains unknown field `([^`]*)`$")


def _sentence(error: Exception) -> str:
    return _LOCATION.sub("", str(error))


def _explain(error: msgspec.ValidationError, under: str) -> InvalidValue:
    location = _LOCATION.search(str(error))
    sentence = _sentence(error)
    parts = [part for part in (under, location.group(1) if location else "") if part]
    missing = _MISSING.match(sentence)
    if missing:
        path = ".".join([*parts, missing.group(1)])
        return InvalidValue(f"{path} is required", field=path)
    unknown = _UNKNOWN.match(sentence)
    if unknown:
        path = ".".join([*parts, unknown.group(1)])
        return InvalidValue(f"unknown field `{path}`", field=path)
    path = ".".join(parts).replace(".[", "[")
    return InvalidValue(f"{path}: {sentence[:1].lower()}{sentence[1:]}", field=path or None)
