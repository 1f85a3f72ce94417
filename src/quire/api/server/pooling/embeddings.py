"""POST /v1/embeddings: OpenAI's embeddings, with vLLM's additions."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from quire.api.server.body import read_request
from quire.api.server.openai.shared_fields import Int
from quire.api.server.pooling.fields import NumberFields, table_of
from quire.api.server.pooling.numbers import check_encoding, numbers_reply
from quire.api.server.pooling.prompts import open_call, prepare, read_prompts, run
from quire.api.server.pooling.usage import usage_of
from quire.api.server.service import Service
from quire.base.messages import PoolingParams
from quire.text.pooling import pooler_of


class EmbeddingRequest(NumberFields, kw_only=True, forbid_unknown_fields=True):
    dimensions: Int | None = None


EMBEDDING_FIELDS = table_of(EmbeddingRequest)


async def embeddings(service: Service, request: Request) -> Response:
    session = service.pooling_session()
    service.admit()  # before the body is read
    fields = await read_request(request, EmbeddingRequest, EMBEDDING_FIELDS)
    call = open_call(service, session, request, fields, prefix="embd")
    check_encoding(fields)
    pooler = pooler_of(session.config)
    pooling = PoolingParams(
        task="token_embed" if pooler.task == "token_embed" else "embed",
        dimensions=fields.dimensions,
        use_activation=fields.use_activation,
        truncate_prompt_tokens=fields.truncate_prompt_tokens,
    )
    pooled = await run(call, await prepare(call, read_prompts(call, fields), pooling, fields))
    arrays = [one.data for one in pooled]
    return numbers_reply(call, fields, arrays, usage_of(service, pooled), kind="embedding")
