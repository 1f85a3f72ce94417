"""A text, or a pair of them, to engine requests; their numbers back as arrays.

A pooling request goes the same way as one that generates: every limit is applied here, once, before any work.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from quire.base.config import EngineConfig, PoolerConfig
from quire.base.errors import EngineFault, InvalidValue, Unsupported
from quire.base.messages import EngineRequest, PoolingParams, RequestTimes, TokenEvent
from quire.text.session import EngineClient, Session, check_known_ids, check_prompt, context_tokens

Numbers = npt.NDArray[np.float32]
Side = Literal["left", "right"]
Pair: TypeAlias = tuple[str, str]
Prompt: TypeAlias = str | list[int] | Pair
VECTOR_TASKS = ("embed", "token_embed")


@dataclass(frozen=True, slots=True)
class PooledPrompt:
    """One prompt made ready: as one request, or as several whose vectors are averaged where it is longer than the
    context and the server embeds such prompts in chunks."""

    requests: list[EngineRequest]
    text: str | None
    normalizes_mean: bool = False

    @property
    def token_ids(self) -> list[int]:
        return [token for request in self.requests for token in request.prompt_token_ids]


@dataclass(frozen=True, slots=True)
class Pooled:
    """What came of one prompt: a vector, or a row for each of its tokens."""

    data: Numbers
    num_prompt_tokens: int
    num_cached_tokens: int
    times: RequestTimes | None


def pooler_of(config: EngineConfig) -> PoolerConfig:
    """Raises Unsupported for a model that generates."""
    if config.pooler is None:
        raise Unsupported(
            "this model generates text and is not pooled into vectors or scores; start the server with "
            "--runner pooling"
        )
    return config.pooler


def prepare_pooling(
    session: Session,
    prompt: Prompt,
    pooling: PoolingParams,
    *,
    request_id: str,
    priority: int = 0,
    cache_salt: str = "",
    add_special_tokens: bool = True,
    truncation_side: Side = "right",
) -> PooledPrompt:
    """What the engine accepts. Raises InvalidValue and Unsupported naming the field (the prompt's is "prompt")."""
    config, arrival_s = session.config, time.monotonic()
    pooler = pooler_of(config)
    session.limits.verify_names(request_id, priority, cache_salt)
    resolved = resolve_pooling(pooling, config)
    most = _kept_tokens(pooling, config)
    token_ids, segment_start = _tokenized(session, prompt, most, add_special_tokens, truncation_side)
    check_known_ids(token_ids, config)
    resolved = msgspec.structs.replace(resolved, segment_start=segment_start)
    parts, normalizes_mean = _parts(token_ids, resolved, pooler, config)
    if len(parts) > 1:  # normalised once, as a whole
        resolved = msgspec.structs.replace(resolved, use_activation=False)
    requests = [
        EngineRequest(
            request_id=request_id if len(parts) == 1 else f"{request_id}.{number}",
            prompt_token_ids=part,
            pooling=resolved,
            priority=priority,
            arrival_s=arrival_s,
            cache_salt=cache_salt,
        )
        for number, part in enumerate(parts)
    ]
    return PooledPrompt(requests, prompt if isinstance(prompt, str) else None, normalizes_mean)


def with_text_prompt(prompt: Prompt, task: str | None, config: EngineConfig) -> Prompt:
    """The prompt as a caller gave it, with what the model's files put before a text that becomes a vector."""
    pooler = pooler_of(config)
    if not isinstance(prompt, str) or not prompt or (task or pooler.task) not in VECTOR_TASKS:
        return prompt
    return pooler.text_prompt + prompt


async def pool(client: EngineClient, prompt: PooledPrompt) -> Pooled:
    """Run one prompt's requests together. Cancelled, it gives them up. Raises EngineFault."""
    streams = [client.submit(request) for request in prompt.requests]
    ends: list[TokenEvent] = []
    try:
        for stream in streams:
            async for batch in stream:
                ends += (event for event in batch if event.finish_reason is not None)
    finally:
        for request in prompt.requests[len(ends) :]:
            client.abort(request.request_id)
    return collect(prompt, ends)


def collect(prompt: PooledPrompt, ends: Sequence[TokenEvent]) -> Pooled:
    """The numbers of the last events of a prompt's requests, in order. Raises EngineFault where one failed."""
    arrays: list[Numbers] = []
    for event in ends:
        if event.pooled is None:
            raise EngineFault(event.error or f"the engine ended request {event.request_id} without a result")
        arrays.append(np.frombuffer(event.pooled.data, np.float32).reshape(event.pooled.shape))
    if len(arrays) != len(prompt.requests):
        raise EngineFault("the engine ended a request without a result")
    return Pooled(
        data=arrays[0] if len(arrays) == 1 else _average(prompt, arrays),
        num_prompt_tokens=sum(len(request.prompt_token_ids) for request in prompt.requests),
        num_cached_tokens=sum(event.num_cached_tokens for event in ends),
        times=ends[-1].times,
    )


def _average(prompt: PooledPrompt, vectors: list[Numbers]) -> Numbers:
    """Of the chunks of a long prompt: each counts as much as it has tokens."""
    weights = [len(request.prompt_token_ids) for request in prompt.requests]
    mean = np.average(np.stack(vectors).astype(np.float64), axis=0, weights=weights)
    if prompt.normalizes_mean:
        mean /= max(float(np.linalg.norm(mean)), 1e-12)
    result: Numbers = mean.astype(np.float32)
    return result


def resolve_pooling(asked: PoolingParams, config: EngineConfig) -> PoolingParams:
    """A copy with nothing left open. Raises InvalidValue or Unsupported naming the field this model cannot follow."""
    pooler = pooler_of(config)
    task = asked.task or pooler.task
    if task not in pooler.tasks:
        raise Unsupported(
            f"task {task} is not supported: this model does {' and '.join(pooler.tasks)}", field="task"
        )
    is_vector = task in VECTOR_TASKS
    usual = pooler.uses_activation and (pooler.normalizes or not is_vector)
    is_of_steps = pooler.tokens == "STEP" and task.startswith("token_")
    reads_prefix = task in ("embed", "classify") and pooler.sequence == "LAST"
    if asked.step_tag_id is not None and not is_of_steps:
        raise Unsupported(
            "step_tag_id is for models that are pooled by STEP, token by token; this one is not",
            field="step_tag_id",
        )
    return msgspec.structs.replace(
        asked,
        task=task,
        use_activation=usual if asked.use_activation is None else asked.use_activation,
        dimensions=_dimensions(asked.dimensions, pooler, config, is_vector=is_vector),
        step_tag_id=(asked.step_tag_id if asked.step_tag_id is not None else pooler.step_tag_id)
        if is_of_steps
        else None,
        returned_token_ids=_columns(asked, pooler),
        truncate_prompt_tokens=None,
        skip_reading_prefix_cache=bool(asked.skip_reading_prefix_cache) or not reads_prefix,
    )


def _dimensions(
    asked: int | None, pooler: PoolerConfig, config: EngineConfig, *, is_vector: bool
) -> int | None:
    if asked is None:
        return pooler.dimensions if is_vector else None
    width = config.card.hidden_size
    if not is_vector:
        raise Unsupported("dimensions is for vectors, and this model gives scores", field="dimensions")
    if asked > width:
        raise InvalidValue(
            f"dimensions must be at most {width}, the length of this model's vectors; got {asked}",
            field="dimensions",
        )
    if pooler.allowed_dimensions is not None and asked not in (*pooler.allowed_dimensions, width):
        allowed = ", ".join(map(str, pooler.allowed_dimensions))
        raise InvalidValue(
            f"dimensions must be one of {allowed} for this model, got {asked}", field="dimensions"
        )
    if not pooler.is_matryoshka and asked != width:
        raise Unsupported(
            "dimensions is not supported: this model is not known to keep its meaning in fewer (Matryoshka); if it "
            "does, start the server with --hf-overrides '{\"is_matryoshka\": true}'",
            field="dimensions",
        )
    return asked


def _columns(asked: PoolingParams, pooler: PoolerConfig) -> list[int] | None:
    columns = asked.returned_token_ids
    if columns is None:
        return pooler.returned_token_ids if pooler.head != "none" else None
    if pooler.head == "none":
        raise Unsupported(
            "returned_token_ids picks scores, and this model has none", field="returned_token_ids"
        )
    for column in columns:
        if not 0 <= column < pooler.num_labels:
            raise InvalidValue(
                f"returned_token_ids must be from 0 to {pooler.num_labels - 1}, this model's scores; got {column}",
                field="returned_token_ids",
            )
    return columns


def _kept_tokens(pooling: PoolingParams, config: EngineConfig) -> int | None:
    asked = pooling.truncate_prompt_tokens
    if asked is None:
        return None
    most = _context_tokens(config)
    if asked == 0 or asked > most:
        raise InvalidValue(
            f"truncate_prompt_tokens must be -1 or between 1 and {most}, the context length; got {asked}",
            field="truncate_prompt_tokens",
        )
    return most if asked == -1 else asked


def _context_tokens(config: EngineConfig) -> int:
    """The longest prompt that the model and its KV pool, if any, can hold: no room for an answer is needed."""
    return context_tokens(config) if config.scheduler.has_kv else config.max_model_len


def _tokenized(
    session: Session, prompt: Prompt, most: int | None, adds_special: bool, side: Side
) -> tuple[list[int], int]:
    """(token ids, where a second text begins)."""
    if isinstance(prompt, tuple):
        return session.tokenizer.encode_pair(*map(_checked_text, prompt), max_tokens=most)
    check_prompt(prompt, session.config)
    if isinstance(prompt, list):
        if most is None:
            return list(prompt), 0
        return (prompt[:most] if side == "right" else prompt[-most:]), 0
    text = _checked_text(prompt)
    pooler = pooler_of(session.config)
    if pooler.lowers_text:
        text = text.lower()
    longest = max(pooler.max_embed_len or 0, session.config.max_model_len)
    max_chars = longest * max(16, session.tokenizer.longest_token_chars)
    if len(text) > max_chars and not pooler.enable_chunked_processing:
        if most is None:
            raise InvalidValue(
                f"prompt has {len(text)} characters, more than {longest} tokens can hold; shorten it or set "
                "truncate_prompt_tokens",
                field="prompt",
            )
        text = text[:max_chars] if side == "right" else text[-max_chars:]
    ends = {"keep_first_tokens" if side == "right" else "keep_last_tokens": most}
    return session.tokenizer.encode(text, add_special_tokens=adds_special, **ends), 0


def _checked_text(text: str) -> str:
    try:
        text.encode()
    except UnicodeError as error:
        raise InvalidValue(f"prompt is not valid Unicode: {error}", field="prompt") from None
    return text


def _parts(
    token_ids: list[int], pooling: PoolingParams, pooler: PoolerConfig, config: EngineConfig
) -> tuple[list[list[int]], bool]:
    """The prompt whole, or in parts of the context's length; and whether their mean is to be normalised."""
    most, count = _context_tokens(config), len(token_ids)
    if count <= most:
        return [token_ids], False
    if pooler.enable_chunked_processing and pooling.task == "embed":
        if pooler.max_embed_len is not None and count > pooler.max_embed_len:
            raise InvalidValue(
                f"prompt has {count} tokens, but this server embeds at most {pooler.max_embed_len} "
                "(--pooler-config.max_embed_len); shorten it or set truncate_prompt_tokens",
                field="prompt",
            )
        parts = [token_ids[start : start + most] for start in range(0, count, most)]
        return parts, pooling.use_activation is True
    raise InvalidValue(
        f"prompt has {count} tokens, but this model's maximum context length is {most} tokens; shorten it or set "
        "truncate_prompt_tokens",
        field="prompt",
    )
