"""POST /classify: probabilities of a classifier's labels, and the likeliest one's name."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from quire.api.server.body import read_request
from quire.api.server.openai.usage import Usage
from quire.api.server.pooling.fields import PromptFields, table_of
from quire.api.server.pooling.prompts import open_call, prepare, read_prompts, run
from quire.api.server.pooling.usage import usage_of
from quire.api.server.replies import json_reply
from quire.api.server.service import Service
from quire.base.messages import PoolingParams
from quire.text.pooling import pooler_of


class ClassifyRequest(PromptFields, kw_only=True, forbid_unknown_fields=True):
    pass


class Classified(msgspec.Struct):
    index: int
    label: str
    probs: list[float]
    num_classes: int


class ClassifyReply(msgspec.Struct, kw_only=True):
    id: str
    object: str = "list"
    created: int
    model: str
    data: list[Classified]
    usage: Usage


CLASSIFY_FIELDS = table_of(ClassifyRequest)


async def classify(service: Service, request: Request) -> Response:
    session = service.pooling_session()
    service.admit()  # before the body is read
    fields = await read_request(request, ClassifyRequest, CLASSIFY_FIELDS)
    call = open_call(service, session, request, fields, prefix="classify")
    pooling = PoolingParams(
        task="classify",
        use_activation=fields.use_activation,
        truncate_prompt_tokens=fields.truncate_prompt_tokens,
    )
    pooled = await run(call, await prepare(call, read_prompts(call, fields), pooling, fields))
    labels = pooler_of(session.config).labels
    data = [
        Classified(index, labels[int(one.data.argmax())], one.data.tolist(), len(one.data))
        for index, one in enumerate(pooled)
    ]
    return json_reply(
        ClassifyReply(
            id=call.id, created=call.created, model=call.model, data=data, usage=usage_of(service, pooled)
        )
    )
