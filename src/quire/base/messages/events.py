"""What comes up from the engine: token events, and the numbers metrics are made of."""

from __future__ import annotations

from typing import Literal

import msgspec

from quire.base.messages.pooling import PooledRows

FinishReason = Literal["stop", "length", "abort", "error"]


class PositionLogprobs(msgspec.Struct, frozen=True, array_like=True):
    """Log-probabilities at one position.

    Entry 0 is the token that stands there (sampled or prompt), `rank` its place counted from 1; the top k
    follow in falling order (that token may appear again).
    """

    token_ids: list[int]
    logprobs: list[float]
    rank: int


class RequestTimes(msgspec.Struct, frozen=True, array_like=True):
    """time.monotonic() stamps in seconds; 0.0 where not reached."""

    arrival_s: float
    scheduled_s: float
    first_token_s: float
    finished_s: float


class TokenEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """News of one stream (`request_id`, sample `index`): new tokens, or the end, or both.

    Every stream ends in exactly one event with a `finish_reason`. `stop_reason` is the stop token id that
    ended it (None for EOS), `error` explains finish_reason "error". `times` comes with the first and the last
    event, `num_preemptions` with the last, `prompt_logprobs` (one entry per prompt token, the first None) with
    the first event of index 0. A pooled request has one event, with `pooled` where it ended well ("stop").
    """

    request_id: str
    index: int = 0
    token_ids: list[int] = []
    logprobs: list[PositionLogprobs] | None = None
    prompt_logprobs: list[PositionLogprobs | None] | None = None
    finish_reason: FinishReason | None = None
    stop_reason: int | None = None
    error: str | None = None
    num_cached_tokens: int = 0
    num_preemptions: int = 0
    times: RequestTimes | None = None
    pooled: PooledRows | None = None


class EngineStats(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot after a step; counters run since the engine started."""

    num_running: int = 0
    num_waiting: int = 0
    num_blocks: int = 0
    num_blocks_used: int = 0
    num_preemptions: int = 0
    prefix_cache_queries_tokens: int = 0
    prefix_cache_hits_tokens: int = 0
    num_steps: int = 0
    step_tokens: int = 0  # tokens computed in the last step
