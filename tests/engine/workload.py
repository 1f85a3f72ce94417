"""Builders shared by engine tests: small configurations, requests, and a drive-to-the-end loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from quire.base.config import CacheConfig, EngineConfig, ModelCard, SchedulerConfig
from quire.base.messages import EngineRequest, SamplingParams, TokenEvent
from quire.engine.core import EngineCore
from tests.engine.paper_executor import VOCAB_SIZE, PaperExecutor

CARD = ModelCard(
    folder="", name="paper", model_type="paper", architecture="Paper", dtype="float32",
    vocab_size=VOCAB_SIZE, hidden_size=8, max_model_len=512, num_layers=1, kv_heads=[1], head_dim=4,
    eos_token_ids=[], weight_bytes=0, hf_config={},
)  # fmt: skip


def engine_config(
    *, num_blocks: int = 64, block_size: int = 4, prefix_caching: bool = True, **scheduler: Any
) -> EngineConfig:
    limits: dict[str, Any] = {"max_num_batched_tokens": 32, "max_num_seqs": 8, **scheduler}
    return EngineConfig(
        card=CARD,
        dtype="float32",
        max_model_len=512,
        cache=CacheConfig(
            block_size=block_size,
            num_blocks=num_blocks,
            dtype="float32",
            enable_prefix_caching=prefix_caching,
        ),
        scheduler=SchedulerConfig(**limits),
        enable_sleep_mode=True,
    )


def paper_engine(config: EngineConfig) -> tuple[EngineCore, PaperExecutor]:
    executor = PaperExecutor(config.cache.num_blocks, config.cache.block_size)
    return EngineCore(config, executor, audit_steps=True), executor


def request(
    request_id: str,
    prompt: list[int],
    *,
    seed: int = 0,
    priority: int = 0,
    arrival_s: float = 0.0,
    **sampling: Any,
) -> EngineRequest:
    return EngineRequest(
        request_id=request_id,
        prompt_token_ids=prompt,
        sampling=SamplingParams(**{"max_tokens": 8, **sampling}),
        seed=seed,
        priority=priority,
        arrival_s=arrival_s,
    )


Streams = dict[tuple[str, int], list[TokenEvent]]


def drive(
    core: EngineCore,
    *,
    max_steps: int = 5000,
    before_step: Callable[[int], None] | None = None,
    streams: Streams | None = None,
) -> Streams:
    """Step until nothing is left; returns each stream's events in order."""
    collected: Streams = streams if streams is not None else {}
    for step in range(max_steps):
        if before_step is not None:
            before_step(step)
        if not core.has_work:
            return collected
        for event in core.step():
            collected.setdefault((event.request_id, event.index), []).append(event)
    raise AssertionError(f"the engine was not done after {max_steps} steps")


def tokens(events: list[TokenEvent]) -> list[int]:
    return [token for event in events for token in event.token_ids]


def check_one_end_each(streams: Streams) -> None:
    for stream, events in streams.items():
        ends = [event for event in events if event.finish_reason is not None]
        assert len(ends) == 1 and events[-1] is ends[0], f"stream {stream} ended {len(ends)} times"
