"""POST /score and /v1/score: how well texts go together, one with many or pair by pair."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from quire.api.server.body import read_request
from quire.api.server.openai.usage import Usage
from quire.api.server.pooling.fields import table_of
from quire.api.server.pooling.pairs import PairFields, score_pairs
from quire.api.server.pooling.prompts import open_call
from quire.api.server.pooling.usage import usage_of
from quire.api.server.replies import json_reply
from quire.api.server.service import Service
from quire.base.errors import InvalidValue

Texts = str | list[str]
PAIRS_OF_TEXTS = (("queries", "documents"), ("text_1", "text_2"), ("data_1", "data_2"), ("queries", "items"))


class ScoreRequest(PairFields, kw_only=True, forbid_unknown_fields=True):
    """One pair of names out of several that mean the same."""

    queries: Texts | None = None
    documents: Texts | None = None
    items: Texts | None = None
    text_1: Texts | None = None
    text_2: Texts | None = None
    data_1: Texts | None = None
    data_2: Texts | None = None


class Scored(msgspec.Struct):
    index: int
    score: float
    object: str = "score"


class ScoreReply(msgspec.Struct, kw_only=True):
    id: str
    object: str = "list"
    created: int
    model: str
    data: list[Scored]
    usage: Usage


SCORE_FIELDS = table_of(ScoreRequest)


async def score(service: Service, request: Request) -> Response:
    session = service.pooling_session()
    service.admit()  # before the body is read
    fields = await read_request(request, ScoreRequest, SCORE_FIELDS)
    call = open_call(service, session, request, fields, prefix="score")
    names = _names(fields)
    pairs = _pairs(fields, names)
    scores, pooled = await score_pairs(call, pairs, fields, names=names)
    return json_reply(
        ScoreReply(
            id=call.id,
            created=call.created,
            model=call.model,
            data=[Scored(index, value) for index, value in enumerate(scores)],
            usage=usage_of(service, pooled),
        )
    )


def _names(fields: ScoreRequest) -> tuple[str, str]:
    """The two fields that were sent."""
    given = {name for pair in PAIRS_OF_TEXTS for name in pair if getattr(fields, name) is not None}
    for pair in PAIRS_OF_TEXTS:
        if given == set(pair):
            return pair
    raise InvalidValue(
        "send queries and documents (or text_1 and text_2, or data_1 and data_2)", field="queries"
    )


def _pairs(fields: ScoreRequest, names: tuple[str, str]) -> list[tuple[str, str]]:
    first, second = (
        [value] if isinstance(value, str) else value for value in (getattr(fields, name) for name in names)
    )
    for name, texts in zip(names, (first, second), strict=True):
        if not texts:
            raise InvalidValue(f"{name} must not be empty", field=name)
    if len(first) == 1:
        first = first * len(second)
    if len(first) != len(second):
        raise InvalidValue(
            f"{names[0]} has {len(first)} texts and {names[1]} {len(second)}; send one, or as many",
            field=names[0],
        )
    return list(zip(first, second, strict=True))
