"""Reading a generation request: its fields, with what the server's settings and the request's headers say instead."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from starlette.requests import Request

from quire.api.server.body import read_request
from quire.api.server.fields import FieldTable
from quire.api.server.openai.shared_fields import GenerationFields, StreamOptions
from quire.api.server.service import Service
from quire.base.errors import InvalidValue

PRIORITY_HEADER = "x-vllm-priority"
_T = TypeVar("_T", bound=GenerationFields)


async def read_generation(service: Service, request: Request, type_: type[_T], table: FieldTable) -> _T:
    """Raises UserError naming the first field, or header, that is not right."""
    fields = await read_request(request, type_, table)
    config = service.config
    fields.return_tokens_as_token_ids |= config.return_tokens_as_token_ids
    if config.enable_force_include_usage and fields.stream:
        options = fields.stream_options or StreamOptions()
        fields.stream_options = msgspec.structs.replace(options, include_usage=True)
    given = request.headers.get(PRIORITY_HEADER)
    if given is not None:
        fields.priority = _priority(given)
    return fields


def _priority(given: str) -> int:
    try:
        return int(given[:40])
    except ValueError:
        raise InvalidValue(
            f"the header X-Vllm-Priority must be an integer, got {given[:40]!r}", field="X-Vllm-Priority"
        ) from None
