"""POST /pooling: the numbers of any task, as they are."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from quire.api.server.body import read_request
from quire.api.server.fields import Refusal
from quire.api.server.openai.shared_fields import Int
from quire.api.server.pooling.fields import NumberFields, table_of
from quire.api.server.pooling.numbers import check_encoding, numbers_reply
from quire.api.server.pooling.prompts import open_call, prepare, read_prompts, run
from quire.api.server.pooling.usage import usage_of
from quire.api.server.service import Service
from quire.base.messages import PoolingParams


class PoolingRequest(NumberFields, kw_only=True, forbid_unknown_fields=True):
    task: str | None = None
    dimensions: Int | None = None
    step_tag_id: Int | None = None
    returned_token_ids: list[Int] | None = None


POOLING_FIELDS = table_of(
    PoolingRequest, data=Refusal("no input and output processor is loaded that reads it; send `input`")
)


async def pooling(service: Service, request: Request) -> Response:
    session = service.pooling_session()
    service.admit()  # before the body is read
    fields = await read_request(request, PoolingRequest, POOLING_FIELDS)
    call = open_call(service, session, request, fields, prefix="pool")
    check_encoding(fields)
    asked = PoolingParams(
        task=fields.task,  # type: ignore[arg-type]  # checked there
        dimensions=fields.dimensions,
        use_activation=fields.use_activation,
        step_tag_id=fields.step_tag_id,
        returned_token_ids=fields.returned_token_ids,
        truncate_prompt_tokens=fields.truncate_prompt_tokens,
    )
    pooled = await run(call, await prepare(call, read_prompts(call, fields), asked, fields))
    arrays = [one.data for one in pooled]
    return numbers_reply(call, fields, arrays, usage_of(service, pooled), kind="pooling")
