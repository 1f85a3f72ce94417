"""POST /rerank, /v1/rerank, /v2/rerank: documents by how well they answer a query, as Jina and Cohere have it."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from quire.api.server.body import read_request
from quire.api.server.fields import Refusal
from quire.api.server.openai.shared_fields import Int
from quire.api.server.pooling.fields import table_of
from quire.api.server.pooling.pairs import PairFields, score_pairs
from quire.api.server.pooling.prompts import open_call
from quire.api.server.pooling.usage import usage_of
from quire.api.server.replies import json_reply
from quire.api.server.service import Service
from quire.base.errors import InvalidValue


class Document(msgspec.Struct, forbid_unknown_fields=True):
    """Cohere's first version writes a document as an object."""

    text: str


class RerankRequest(PairFields, kw_only=True, forbid_unknown_fields=True):
    """`top_n` 0 means all."""

    query: str
    documents: list[str | Document]
    top_n: Int = 0
    return_documents: bool = True


class ShownDocument(msgspec.Struct):
    text: str
    multi_modal: None = None


class Ranked(msgspec.Struct):
    index: int
    relevance_score: float
    document: ShownDocument | msgspec.UnsetType = msgspec.UNSET


class RerankUsage(msgspec.Struct):
    prompt_tokens: int
    total_tokens: int


class RerankReply(msgspec.Struct):
    id: str
    model: str
    usage: RerankUsage
    results: list[Ranked]


RERANK_FIELDS = table_of(
    RerankRequest,
    max_chunks_per_doc=Refusal("documents are read whole; cut them with max_tokens_per_doc"),
    rank_fields=Refusal("documents are texts here"),
)


async def rerank(service: Service, request: Request) -> Response:
    session = service.pooling_session()
    service.admit()  # before the body is read
    fields = await read_request(request, RerankRequest, RERANK_FIELDS)
    call = open_call(service, session, request, fields, prefix="rerank")
    if not fields.documents:
        raise InvalidValue("documents must not be empty", field="documents")
    if fields.top_n < 0:
        raise InvalidValue(f"top_n must be at least 0 (0 is all), got {fields.top_n}", field="top_n")
    texts = [one if isinstance(one, str) else one.text for one in fields.documents]
    pairs = [(fields.query, text) for text in texts]
    scores, pooled = await score_pairs(call, pairs, fields, names=("query", "documents"))
    order = sorted(range(len(texts)), key=lambda index: (-scores[index], index))
    results = [
        Ranked(
            index, scores[index], ShownDocument(texts[index]) if fields.return_documents else msgspec.UNSET
        )
        for index in order[: fields.top_n or len(order)]
    ]
    total = usage_of(service, pooled).total_tokens
    return json_reply(RerankReply(call.id, call.model, RerankUsage(total, total), results))
