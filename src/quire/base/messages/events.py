"""What comes up from the engine: token events, and the numbers metrics are made of."""

from __future__ import annotations

from typing import Literal

import msgspec

from quire.base.messages.pooling import PooledRows

FinishReason = Literal["stop", "length", "abort", "error", "repetition"]


class PositionLogprobs(msgspec.Struct, frozen=True, array_like=True):
    """Log-probabilities at one position.

    Entry 0 is the token that stands there (sampled or prompt), `rank` its place counted from 1; the top k
    follow in falling order (that token may appear again). The last `num_listed` entries are tokens the request
    named, in its order; they have no rank.
    """

    token_ids: list[int]
    logprobs: list[float]
    rank: int
    num_listed: int = 0


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


class BlockStay(msgspec.Struct, frozen=True, array_like=True):
    """One watched KV block's time between being taken and being taken anew, in seconds. `reuse_gaps_s` lie between
    finds of its prefix, the latest few of them."""

    lifetime_s: float
    idle_s: float  # since it was taken or last found
    reuse_gaps_s: list[float]


class EngineStats(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A snapshot after a step; counters run since the engine started, times and `block_stays` are the step's own."""

    num_running: int = 0
    num_waiting: int = 0
    num_blocks: int = 0
    num_blocks_used: int = 0
    num_preemptions: int = 0
    prefix_cache_queries_tokens: int = 0
    prefix_cache_hits_tokens: int = 0
    num_steps: int = 0
    step_tokens: int = 0  # tokens computed in the last step
    step_started_s: float = 0.0  # time.monotonic()
    step_execute_s: float = 0.0  # of the worker, sampling included
    step_forward_s: float = 0.0  # of that, the network
    flops: int = 0  # estimated, where they are counted; so are the bytes
    read_bytes: int = 0
    written_bytes: int = 0
    block_stays: list[BlockStay] = []
