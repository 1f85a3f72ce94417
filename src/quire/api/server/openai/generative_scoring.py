"""POST /generative_scoring: how probable each of a few label tokens is as the next token after query and item.

One request to the engine for each item, one token each; the query's keys and values are shared where it comes first.
"""

from __future__ import annotations

import math
from contextlib import aclosing

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from quire.api.server.body import read_request
from quire.api.server.disconnect import unless_disconnected
from quire.api.server.fields import FieldTable, renamed
from quire.api.server.generation import Prepared, generate
from quire.api.server.openai.reply_head import ReplyHead, new_head
from quire.api.server.openai.shared_fields import HARMLESS, Int, names_of
from quire.api.server.openai.usage import Usage, usage_tally
from quire.api.server.replies import json_reply
from quire.api.server.service import Service
from quire.base.errors import InvalidValue
from quire.base.messages import OutputKind, SamplingParams
from quire.text.session import Session

MAX_ITEMS = 1024
MAX_LABELS = 128


class ScoringRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`query` and each of `items` are both text or both token ids; `item_first` puts the item before the query."""

    query: str | list[Int]
    items: list[str | list[Int]]
    label_token_ids: list[Int]
    model: str | None = None
    apply_softmax: bool = True
    item_first: bool = False
    add_special_tokens: bool = True
    priority: Int = 0
    request_id: str | None = None


SCORING_FIELDS = FieldTable(taken=names_of(ScoringRequest), harmless=HARMLESS, refused={})


class ItemScore(msgspec.Struct):
    """`score` is the first label's; `label_scores` are those of all, in the request's order."""

    index: int
    score: float
    label_scores: list[float]
    object: str = "score"


class ScoringReply(msgspec.Struct):
    id: str
    created: int
    model: str
    data: list[ItemScore]
    usage: Usage
    object: str = "list"


async def generative_scoring(service: Service, request: Request) -> Response:
    session = service.generating_session()
    service.admit()  # before the body is read
    fields = await read_request(request, ScoringRequest, SCORING_FIELDS)
    head = new_head(service, request, fields.model, fields.request_id, prefix="score")
    _check(fields)
    prepared = await _prepare(session, fields, head)
    service.admit([item.request for item in prepared])
    with service.under_way():
        work = _scores(service, session, fields, head, prepared)
        return json_reply(await unless_disconnected(request.receive, work))


def _check(fields: ScoringRequest) -> None:
    if not 0 < len(fields.items) <= MAX_ITEMS:
        raise InvalidValue(f"items must be 1 to {MAX_ITEMS}, got {len(fields.items)}", field="items")
    if not 0 < len(fields.label_token_ids) <= MAX_LABELS:
        raise InvalidValue(
            f"label_token_ids must be 1 to {MAX_LABELS}, got {len(fields.label_token_ids)}",
            field="label_token_ids",
        )
    if any(type(item) is not type(fields.query) for item in fields.items):
        raise InvalidValue("query and items must be all text or all token ids", field="items")


async def _prepare(session: Session, fields: ScoringRequest, head: ReplyHead) -> list[Prepared]:
    sampling = SamplingParams(
        max_tokens=1,
        temperature=0.0,
        logprob_token_ids=fields.label_token_ids,
        detokenize=False,
        output_kind=OutputKind.DELTA,
    )
    prepared = []
    with renamed({"logprob_token_ids": "label_token_ids", "prompt": "items"}):
        for number, item in enumerate(fields.items):
            engine_request = await session.prepare(
                _joined(fields, item),
                sampling,
                request_id=head.engine_id(number),
                priority=fields.priority,
                add_special_tokens=fields.add_special_tokens,
            )
            prepared.append(Prepared(engine_request, None))
    return prepared


def _joined(fields: ScoringRequest, item: str | list[int]) -> str | list[int]:
    if isinstance(item, str) and isinstance(fields.query, str):
        return item + fields.query if fields.item_first else fields.query + item
    one, other = list(fields.query), list(item)
    tokens = [*other, *one] if fields.item_first else [*one, *other]
    return [token for token in tokens if isinstance(token, int)]


async def _scores(
    service: Service,
    session: Session,
    fields: ScoringRequest,
    head: ReplyHead,
    prepared: list[Prepared],
) -> ScoringReply:
    usage = usage_tally(service)
    usage.prompt_tokens = sum(len(item.request.prompt_token_ids) for item in prepared)
    found: dict[int, list[float]] = {}
    async with aclosing(generate(service, session, prepared)) as outputs:
        async for number, output in outputs:
            usage.count(number, output)
            for sample in output.outputs:
                for position in sample.logprobs or ():
                    found[number] = [position[label].logprob for label in fields.label_token_ids]
    scores = [label_scores(found[number], shared=fields.apply_softmax) for number in range(len(prepared))]
    return ScoringReply(
        id=head.id,
        created=head.created,
        model=head.model,
        data=[ItemScore(number, own[0], own) for number, own in enumerate(scores)],
        usage=usage.as_usage(),
    )


def label_scores(logprobs: list[float], *, shared: bool) -> list[float]:
    """Probabilities; `shared` among the labels alone, so that they add up to 1."""
    if not shared:
        return [math.exp(one) for one in logprobs]
    highest = max(logprobs)
    weights = [math.exp(one - highest) for one in logprobs]
    return [weight / sum(weights) for weight in weights]
