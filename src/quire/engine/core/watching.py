"""StepWatch: what the engine tells of its steps beyond the scheduler's counters, as far as settings ask for it."""

from __future__ import annotations

from typing import Protocol

import msgspec

from quire.base.messages import EngineStats, StepPlan, StepResult
from quire.base.observe import WatchConfig
from quire.engine.kv import BlockEvent, BlockNews, KVCache, Residency


class Publisher(Protocol):
    def publish(self, events: list[BlockEvent]) -> None:
        """Must not wait."""
        ...


class StepWatch:
    """Hears of each step; `add_to` fills in the stats. What no setting asks for costs a comparison with None."""

    def __init__(self, config: WatchConfig, kv: KVCache, publisher: Publisher | None = None) -> None:
        self._rates = config.work
        self._publisher = publisher
        self._residency = Residency(config.kv_residency_share) if config.kv_residency_share else None
        self._news: BlockNews | None = None
        if config.kv_events is not None and publisher is not None:
            self._news = BlockNews(kv.block_size, has_int_hashes=config.kv_events.has_int_hashes)
        kv.watch(residency=self._residency, news=self._news)
        self._started_s = self._execute_s = self._forward_s = 0.0
        self._flops = self._read_bytes = self._written_bytes = 0

    def note_step(self, plan: StepPlan, result: StepResult, started_s: float, seconds: float) -> None:
        self._started_s, self._execute_s, self._forward_s = started_s, seconds, result.forward_s
        if self._rates is not None:
            self._count_work(plan)

    def _count_work(self, plan: StepPlan) -> None:
        """Each token attends to all before it and itself. The cache is read once for each chunk, as kernels do."""
        rates = self._rates
        assert rates is not None
        num_tokens = num_pairs = num_read = num_sampled = 0
        for chunk in plan.chunks:
            length = len(chunk.token_ids)
            num_tokens += length
            num_pairs += length * chunk.start + length * (length + 1) // 2
            num_read += chunk.end
            num_sampled += 1 if chunk.num_samples else 0
            num_sampled += len(chunk.prompt_targets)
        self._flops += (
            num_tokens * rates.flops_per_token
            + num_pairs * rates.flops_per_pair
            + num_sampled * rates.flops_per_sampled_row
        )
        idle_experts = max(0, rates.num_experts - num_tokens * rates.chosen_experts)
        self._read_bytes += rates.weight_bytes - idle_experts * rates.expert_bytes
        self._read_bytes += num_read * rates.kv_bytes_per_token
        self._written_bytes += num_tokens * rates.kv_bytes_per_token

    def publish(self) -> None:
        """Hand the cache's news on, if anybody wants them."""
        if self._news is not None and self._publisher is not None:
            self._publisher.publish(self._news.take())

    def add_to(self, stats: EngineStats) -> EngineStats:
        return msgspec.structs.replace(
            stats,
            step_started_s=self._started_s,
            step_execute_s=self._execute_s,
            step_forward_s=self._forward_s,
            flops=self._flops,
            read_bytes=self._read_bytes,
            written_bytes=self._written_bytes,
            block_stays=[] if self._residency is None else self._residency.take_stays(),
        )
