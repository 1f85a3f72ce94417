"""Scores of pairs of texts, for /score and /rerank: by vectors, or by a classifier that reads both texts at once."""

from __future__ import annotations

from collections.abc import Sequence

from quire.api.server.openai.shared_fields import Int
from quire.api.server.pooling.fields import PoolingFields
from quire.api.server.pooling.prompts import MAX_PROMPTS, Call, Prompts, prepare, run
from quire.base.errors import InvalidValue, Unsupported
from quire.base.messages import PoolingParams
from quire.text.pooling import Pooled, compare, way_to_score
from quire.text.session import Session

_ROLES = ("query", "document")  # a template that knows both writes the prompt of a pair itself


class PairFields(PoolingFields, kw_only=True, forbid_unknown_fields=True):
    """`max_tokens_per_query` and `max_tokens_per_doc` cut the texts, before anything is added to them."""

    max_tokens_per_query: Int | None = None
    max_tokens_per_doc: Int | None = None
    instruction: str | None = None


async def score_pairs(
    call: Call, pairs: Sequence[tuple[str, str]], fields: PairFields, *, names: tuple[str, str]
) -> tuple[list[float], list[Pooled]]:
    """A score for each (query, document), and what was computed. `names` are those of the two fields."""
    if len(pairs) > MAX_PROMPTS:
        raise InvalidValue(
            f"{names[1]} may hold at most {MAX_PROMPTS} texts, got {len(pairs)}", field=names[1]
        )
    way = way_to_score(call.session.config)
    cut = _cut(call.session, pairs, fields, names)
    template = _has_pair_template(call.session)
    if fields.instruction is not None and not (way == "classifier" and template):
        raise Unsupported(
            "instruction is not supported: only a chat template with the roles query and document reads it; write it "
            "into the query",
            field="instruction",
        )
    pooling = PoolingParams(
        task={"classifier": "classify", "vectors": "embed", "token vectors": "token_embed"}[way],  # type: ignore[arg-type]
        use_activation=fields.use_activation,
        truncate_prompt_tokens=fields.truncate_prompt_tokens,
    )
    if way == "classifier":
        prompts = Prompts(cut)
        if template:
            rendered = [_rendered(call.session, pair, fields.instruction) for pair in cut]
            prompts = Prompts(rendered, adds_special_tokens=False, is_rendered=True)
        pooled = await run(call, await prepare(call, prompts, pooling, fields, field=names[1]))
        return [float(one.data[0]) for one in pooled], pooled
    texts = list(dict.fromkeys(text for pair in cut for text in pair))  # each is computed once
    pooled = await run(call, await prepare(call, Prompts(texts), pooling, fields, field=names[1]))
    vectors = {text: one.data for text, one in zip(texts, pooled, strict=True)}
    return [compare(vectors[query], vectors[document]) for query, document in cut], pooled


def _cut(
    session: Session, pairs: Sequence[tuple[str, str]], fields: PairFields, names: tuple[str, str]
) -> list[tuple[str, str]]:
    limits = (fields.max_tokens_per_query, fields.max_tokens_per_doc)
    fields_of_limits = ("max_tokens_per_query", "max_tokens_per_doc")
    for limit, name in zip(limits, fields_of_limits, strict=True):
        if limit is not None and limit < 1:
            raise InvalidValue(f"{name} must be at least 1, got {limit}", field=name)
    for pair in pairs:
        for text, name in zip(pair, names, strict=True):
            if not text:
                raise InvalidValue(f"{name} must not hold an empty text", field=name)
            try:
                text.encode()
            except UnicodeError as error:
                raise InvalidValue(f"{name} is not valid Unicode: {error}", field=name) from None
    if limits == (None, None):
        return list(pairs)
    known: dict[tuple[str, int | None], str] = {}
    for pair in pairs:
        for text, limit in zip(pair, limits, strict=True):
            if (text, limit) not in known:
                known[text, limit] = text if limit is None else session.tokenizer.beginning(text, limit)
    return [(known[query, limits[0]], known[document, limits[1]]) for query, document in pairs]


def _has_pair_template(session: Session) -> bool:
    sources = session.template.sources.values() if session.template else ()
    return any(all(f'"{role}"' in text or f"'{role}'" in text for role in _ROLES) for text in sources)


def _rendered(session: Session, pair: tuple[str, str], instruction: str | None) -> str:
    messages = [{"role": role, "content": text} for role, text in zip(_ROLES, pair, strict=True)]
    return session.render_chat(
        messages,
        add_generation_prompt=True,
        template_kwargs={} if instruction is None else {"instruction": instruction},
    )
