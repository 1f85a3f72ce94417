"""OfflinePooling: what `LLM` does with a model that is pooled. Prompts in, vectors and scores out, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from quire.api.prompts import PromptParts, read_prompt
from quire.base.errors import InvalidValue, Unsupported
from quire.base.messages import PoolingParams, TokenEvent
from quire.engine.client import InProcessClient
from quire.text.pooling import (
    ClassificationOutput,
    ClassificationRequestOutput,
    EmbeddingOutput,
    EmbeddingRequestOutput,
    Pooled,
    PooledPrompt,
    PoolingOutput,
    PoolingRequestOutput,
    ScoringOutput,
    ScoringRequestOutput,
    collect,
    compare,
    pooler_of,
    prepare_pooling,
    way_to_score,
    with_text_prompt,
)
from quire.text.session import Session

Params = PoolingParams | Sequence[PoolingParams] | None
Out = TypeVar("Out")


class OfflinePooling:
    """Steps the engine itself. `request_ids` are those to give; `progress` shows a bar or is None."""

    def __init__(self, client: InProcessClient, session: Session, request_ids: Iterator[str]) -> None:
        self._client = client
        self._session = session
        self._request_ids = request_ids

    def embed(self, prompts: Sequence[Any], params: Params, bar: Any) -> list[EmbeddingRequestOutput]:
        pooled = self._run(self._prepare(prompts, params, "embed"), bar)
        return [_told(EmbeddingRequestOutput, EmbeddingOutput(one[1].data.tolist()), *one) for one in pooled]

    def classify(self, prompts: Sequence[Any], params: Params, bar: Any) -> list[ClassificationRequestOutput]:
        pooled = self._run(self._prepare(prompts, params, "classify"), bar)
        return [
            _told(ClassificationRequestOutput, ClassificationOutput(one[1].data.tolist()), *one)
            for one in pooled
        ]

    def encode(
        self, prompts: Sequence[Any], params: Params, bar: Any, *, task: str | None
    ) -> list[PoolingRequestOutput]:
        """`task` None is the server's own."""
        pooled = self._run(self._prepare(prompts, params, task), bar)
        return [_told(PoolingRequestOutput, PoolingOutput(one[1].data), *one) for one in pooled]

    def reward(self, prompts: Sequence[Any], params: Params, bar: Any) -> list[PoolingRequestOutput]:
        """Scores of every token by a reward model, or of the whole where the model scores that."""
        pooler = pooler_of(self._session.config)
        if pooler.head == "none":
            raise Unsupported("reward is not supported: this model gives vectors; use embed or encode")
        task = "token_classify" if "token_classify" in pooler.tasks else "classify"
        return self.encode(prompts, params, bar, task=task)

    def score(
        self, queries: str | Sequence[str], documents: str | Sequence[str], params: Params, bar: Any
    ) -> list[ScoringRequestOutput]:
        """One query with each document, or as many queries as documents."""
        pairs = pairs_of(queries, documents)
        way = way_to_score(self._session.config)
        if way == "classifier":
            pooled = self._run(self._prepare(pairs, params, "classify"), bar)
            return [
                ScoringRequestOutput(
                    prompt.requests[0].request_id, ScoringOutput(float(result.data[0])), prompt.token_ids
                )
                for prompt, result in pooled
            ]
        texts = list(dict.fromkeys(text for pair in pairs for text in pair))  # each is computed once
        task = "embed" if way == "vectors" else "token_embed"
        by_text = dict(zip(texts, self._run(self._prepare(texts, params, task), bar), strict=True))
        outputs = []
        for first, second in pairs:
            (one, found), (other, against) = by_text[first], by_text[second]
            score = ScoringOutput(compare(found.data, against.data))
            token_ids = one.token_ids + other.token_ids
            outputs.append(ScoringRequestOutput(one.requests[0].request_id, score, token_ids))
        return outputs

    def _prepare(self, prompts: Sequence[Any], params: Params, task: str | None) -> list[PooledPrompt]:
        pooler_of(self._session.config)
        wishes = _wishes(params, len(prompts))
        prepared = []
        for prompt, wish in zip(prompts, wishes, strict=True):
            if task is not None and wish.task not in (None, task):
                raise InvalidValue(
                    f"pooling_params.task is {wish.task!r}, this call's is {task!r}", field="task"
                )
            if isinstance(prompt, tuple):  # two texts that `score` compares
                parts = PromptParts(prompt, "", True)  # type: ignore[arg-type]
            else:
                parts = read_prompt(prompt, self._session.config, takes_vectors=False)
            prepared.append(
                prepare_pooling(
                    self._session,
                    with_text_prompt(parts.body, task or wish.task, self._session.config),  # type: ignore[arg-type]
                    msgspec.structs.replace(wish, task=task or wish.task),
                    request_id=next(self._request_ids),
                    cache_salt=parts.cache_salt,
                    add_special_tokens=parts.add_special_tokens,
                )
            )
        return prepared

    def _run(self, prompts: list[PooledPrompt], bar: Any) -> list[tuple[PooledPrompt, Pooled]]:
        """Submit all, step until all have ended; on any exception abort what is left, so the next call is clean."""
        requests = [request for prompt in prompts for request in prompt.requests]
        ends: dict[str, TokenEvent] = {}
        try:
            for request in requests:
                self._client.submit(request)
            while len(ends) < len(requests):
                for event in self._client.step():
                    if event.finish_reason is not None:
                        ends[event.request_id] = event
                        if bar is not None:
                            bar.update()
        finally:
            for request in requests:
                if request.request_id not in ends:
                    self._client.abort(request.request_id)
            while self._client.has_work:
                self._client.step()
            if bar is not None:
                bar.close()
        return [
            (prompt, collect(prompt, [ends[request.request_id] for request in prompt.requests]))
            for prompt in prompts
        ]


def _told(kind: Callable[..., Out], outputs: Any, prompt: PooledPrompt, result: Pooled) -> Out:
    return kind(prompt.requests[0].request_id, outputs, prompt.token_ids, result.num_cached_tokens)


def pairs_of(queries: str | Sequence[str], documents: str | Sequence[str]) -> list[tuple[str, str]]:
    """One query goes with each document; several need as many documents. Raises InvalidValue."""
    first = [queries] if isinstance(queries, str) else list(queries)
    second = [documents] if isinstance(documents, str) else list(documents)
    if not first or not second:
        raise InvalidValue("queries and documents must not be empty", field="queries")
    if len(first) == 1:
        first *= len(second)
    if len(first) != len(second):
        raise InvalidValue(
            f"{len(first)} queries for {len(second)} documents; give one, or as many", field="queries"
        )
    return list(zip(first, second, strict=True))


def _wishes(params: Params, count: int) -> list[PoolingParams]:
    if params is None or isinstance(params, PoolingParams):
        return [params or PoolingParams()] * count
    if len(params) != count:
        raise InvalidValue(
            f"pooling_params has {len(params)} entries for {count} prompts; give one, or one each",
            field="pooling_params",
        )
    return list(params)
