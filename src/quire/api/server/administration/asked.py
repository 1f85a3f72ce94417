"""What an administrator's request asks: words of the query, or an optional JSON body, as typed Structs."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from starlette.requests import Request

from quire.api.server.body import convert, read_request
from quire.api.server.fields import FieldTable

T = TypeVar("T", bound=msgspec.Struct)


def read_query(request: Request, type_: type[T]) -> T:
    """The query's words as fields; one that is a list may be repeated. Raises InvalidValue naming the word."""
    lists = {field.name for field in msgspec.structs.fields(type_) if isinstance(field.default_factory, type)}
    fields: dict[str, Any] = {}
    for name, value in request.query_params.multi_items():
        if name in lists:
            fields.setdefault(name, []).append(value)
        else:
            fields[name] = value
    table = FieldTable(taken=type_.__struct_fields__, harmless={}, refused={})
    return convert(table.check(fields), type_, strict=False)


async def read_optional(request: Request, type_: type[T]) -> T:
    """The body's fields, their defaults where there is no body. Raises UserError naming what is not right."""
    has_body = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
    if not has_body:
        return type_()
    table = FieldTable(taken=type_.__struct_fields__, harmless={}, refused={})
    return await read_request(request, type_, table)
