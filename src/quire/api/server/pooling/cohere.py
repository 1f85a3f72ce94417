"""POST /v2/embed: Cohere's embeddings of texts, by type."""

from __future__ import annotations

import base64
from typing import Any, Literal

import msgspec
import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from quire.api.server.body import read_request
from quire.api.server.fields import FieldTable, Refusal
from quire.api.server.openai.shared_fields import Int, names_of
from quire.api.server.pooling.fields import PoolingFields
from quire.api.server.pooling.numbers import Numbers, packed
from quire.api.server.pooling.prompts import Prompts, open_call, prepare, prompts_of, run
from quire.api.server.pooling.usage import usage_of
from quire.api.server.replies import json_reply
from quire.api.server.service import Service
from quire.base.errors import Unsupported
from quire.base.messages import PoolingParams

_IMAGES = "this model takes text only; send `texts`"


class EmbedRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`truncate` END and START cut what is too long at that end; NONE refuses it. `max_tokens` cuts further."""

    model: str | None = None
    texts: list[str]
    input_type: str | None = None
    embedding_types: list[str] = msgspec.field(default_factory=lambda: ["float"])
    output_dimension: Int | None = None
    truncate: Literal["NONE", "START", "END"] = "END"
    max_tokens: Int | None = None
    priority: Int = 0


EMBED_FIELDS = FieldTable(
    taken=[name for name in names_of(EmbedRequest) if name != "input_type"],
    harmless={"input_type": str},  # of Cohere's own models; others are told in the text
    refused={"images": Refusal(_IMAGES, unless=([],)), "inputs": Refusal(_IMAGES)},
)


async def embed(service: Service, request: Request) -> Response:
    session = service.pooling_session()
    service.admit()  # before the body is read
    asked = await read_request(request, EmbedRequest, EMBED_FIELDS)
    for kind in asked.embedding_types:
        if kind not in _WRITERS:
            raise Unsupported(
                f"embedding_types: {kind[:40]} is not supported; give {', '.join(_WRITERS)}",
                field="embedding_types",
            )
    fields = PoolingFields(
        model=asked.model,
        truncation_side="left" if asked.truncate == "START" else "right",
        priority=asked.priority,
    )
    call = open_call(service, session, request, fields, prefix="embd")
    longest = -1 if asked.truncate != "NONE" else None
    pooling = PoolingParams(
        task="embed",
        dimensions=asked.output_dimension,
        truncate_prompt_tokens=longest if asked.max_tokens is None else asked.max_tokens,
    )
    texts = Prompts(prompts_of(list(asked.texts), field="texts"))
    pooled = await run(call, await prepare(call, texts, pooling, fields, field="texts"))
    arrays = [one.data for one in pooled]
    by_type = {kind: [_WRITERS[kind](array) for array in arrays] for kind in asked.embedding_types}
    tokens = usage_of(service, pooled).total_tokens
    body = {
        "response_type": "embeddings_by_type",
        "id": call.id,
        "embeddings": by_type,
        "texts": asked.texts,
        "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": tokens}},
    }
    return json_reply(body)


def _bits(array: Numbers) -> Any:
    return np.packbits(array > 0)


_WRITERS: dict[str, Any] = {
    "float": lambda array: array.tolist(),
    "base64": lambda array: base64.b64encode(packed(array, "float32", "little")).decode(),
    "ubinary": lambda array: _bits(array).tolist(),
    "binary": lambda array: (_bits(array).astype(np.int16) - 128).tolist(),
}
