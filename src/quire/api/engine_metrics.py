"""Metrics without a server: the engine's own numbers, under the names that `/metrics` has for them."""

from __future__ import annotations

from dataclasses import dataclass

from quire.base.messages import EngineStats

PREFIX = "vllm:"


@dataclass(frozen=True, slots=True)
class Metric:
    """One number under its name."""

    name: str
    labels: dict[str, str]
    value: float


class Counter(Metric):
    """Only grows."""


class Gauge(Metric):
    """What is the case now."""


def engine_metrics(stats: EngineStats, model_name: str) -> list[Metric]:
    """Of one engine, since it was loaded."""
    labels = {"model_name": model_name, "engine": "0"}
    used = stats.num_blocks_used / stats.num_blocks if stats.num_blocks else 0.0
    gauges = {
        "num_requests_running": stats.num_running,
        "num_requests_waiting": stats.num_waiting,
        "kv_cache_usage_perc": used,
    }
    counters = {
        "prefix_cache_queries": stats.prefix_cache_queries_tokens,
        "prefix_cache_hits": stats.prefix_cache_hits_tokens,
        "num_preemptions": stats.num_preemptions,
    }
    return [
        *(Gauge(PREFIX + name, labels, float(value)) for name, value in gauges.items()),
        *(Counter(PREFIX + name, labels, float(value)) for name, value in counters.items()),
    ]
