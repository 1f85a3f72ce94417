"""Log lines about the load: rates and cache use while there is work, and how large steps were."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable

from quire.api.server.service import Service

logger = logging.getLogger("quire.server.stats")


class StatsLog:
    """Differences between looks at the counters; a look that finds nothing new says nothing."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._last_s = time.monotonic()
        self._prompt_tokens = 0
        self._generation_tokens = 0
        self._step_sizes: Counter[int] = Counter()

    def log_rates(self) -> None:
        """Tokens per second since the last call, and the engine's queues and cache now."""
        metrics, stats = self._service.metrics, self._service.client.stats
        now_s = time.monotonic()
        seconds = max(now_s - self._last_s, 1e-9)
        num_prompt = metrics.prompt_tokens - self._prompt_tokens
        num_generated = metrics.generation_tokens - self._generation_tokens
        self._last_s = now_s
        self._prompt_tokens, self._generation_tokens = metrics.prompt_tokens, metrics.generation_tokens
        if not (num_prompt or num_generated or stats.num_running or stats.num_waiting):
            return
        queried = stats.prefix_cache_queries_tokens
        logger.info(
            "prompts %.1f tokens/s, answers %.1f tokens/s; %d running, %d waiting; KV cache %.1f%% used, "
            "%.1f%% of prompt tokens found in it",
            num_prompt / seconds,
            num_generated / seconds,
            stats.num_running,
            stats.num_waiting,
            100 * stats.num_blocks_used / max(stats.num_blocks, 1),
            100 * stats.prefix_cache_hits_tokens / max(queried, 1),
        )

    def log_step_sizes(self) -> None:
        """The commonest numbers of tokens in a step since the last call, with how often they occurred."""
        sizes = Counter(self._service.client.step_sizes)
        new = sizes - self._step_sizes
        self._step_sizes = sizes
        if new:
            shown = ", ".join(f"{count} of {size} tokens" for size, count in new.most_common(5))
            logger.info("%d steps: %s", new.total(), shown)


async def write_stats(service: Service) -> None:
    """Log on and on, as often as the configuration says; returns at once when it wants no such lines."""
    config, log = service.config, StatsLog(service)
    wanted = (
        (config.log_stats_interval_s, log.log_rates),
        (config.log_batch_sizes_interval_s, log.log_step_sizes),
        (config.log_stats_interval_s if service.stat_loggers else 0.0, service.stat_loggers.log),
    )
    async with asyncio.TaskGroup() as group:
        for interval_s, write in wanted:
            if interval_s:
                group.create_task(_every(interval_s, write), name=write.__name__)


async def _every(interval_s: float, write: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(interval_s)
        write()
