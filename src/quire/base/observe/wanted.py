"""What is told of work beyond counters, as settings ask for it: KV cache events, residency, arithmetic, traces."""

from __future__ import annotations

from typing import Literal

import msgspec


class KvEventsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where news of the prefix cache is published. `buffer_steps` batches are kept for those who ask again,
    `max_queue_size` may wait to be sent. With `has_int_hashes` a block is named by 64 bits of its key."""

    endpoint: str
    replay_endpoint: str = ""  # empty: nothing is sent again
    buffer_steps: int = 10_000
    send_limit: int = 100_000  # batches a slow subscriber may be behind before it misses some
    max_queue_size: int = 100_000
    topic: str = ""
    has_int_hashes: bool = True


class WorkRates(msgspec.Struct, frozen=True, kw_only=True):
    """What the parts of a step cost, estimated from the model's shape: multiplications and additions, and bytes.

    A pair is a token and one of the tokens it attends to, over all layers and heads. Of `num_experts` in each layer a
    token goes through `chosen_experts`; `expert_bytes` are one expert's in all layers. A step is taken to read as
    many as its tokens can choose.
    """

    flops_per_token: int
    flops_per_pair: int
    flops_per_sampled_row: int
    weight_bytes: int  # read once in each step, all experts included
    kv_bytes_per_token: int
    num_experts: int = 0
    chosen_experts: int = 0
    expert_bytes: int = 0


class WatchConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine tells of itself beyond its counters."""

    kv_residency_share: float = 0.0  # of the blocks whose stay in the cache is timed; 0: none
    work: WorkRates | None = None  # None: a step's work is not counted
    kv_events: KvEventsConfig | None = None


class TraceConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where spans go. `details` are model (forward passes) and worker (whole steps)."""

    endpoint: str
    protocol: Literal["grpc", "http/protobuf"] = "grpc"
    details: list[Literal["model", "worker"]] = []
