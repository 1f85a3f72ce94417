"""Upper edges of the histograms, in vLLM's families, so that existing dashboards read them.

Inter-token latency has extra edges below vLLM's lowest (10 ms): a fast decoder would vanish in one bucket.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

TIME_TO_FIRST_TOKEN_S = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
_FINE_S = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075)
INTER_TOKEN_S = (
    *_FINE_S,
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
)
REQUEST_S = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0),
    *(120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0),
)
SAMPLES = (1.0, 2.0, 5.0, 10.0, 20.0)
STEP_TOKENS = (1.0, *(float(2**power) for power in range(3, 15)))  # 1, 8, 16 … 16384
PREEMPTIONS = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)


def token_counts(max_tokens: int) -> tuple[float, ...]:
    """1, 2, 5, 10, 20, 50 ... up to and including the last that is at most `max_tokens`."""
    edges: list[float] = []
    scale = 1
    while scale <= max_tokens:
        edges += [float(scale * step) for step in (1, 2, 5) if scale * step <= max_tokens]
        scale *= 10
    return tuple(edges)


RESIDENCY_S = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
    *(1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0),
)


def families(max_tokens: int, chosen: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, ...]]:
    """Edges by family; those that --custom-histogram-buckets has `chosen` win. Names are that option's."""
    usual = {
        "time_to_first_token": TIME_TO_FIRST_TOKEN_S,
        "inter_token_latency": INTER_TOKEN_S,
        "request_latency": REQUEST_S,
        "request_tokens": token_counts(max_tokens),
        "request_params_n": SAMPLES,
        "request_num_preemptions": PREEMPTIONS,
        "iteration_tokens": STEP_TOKENS,
        "kv_cache_residency": RESIDENCY_S,
    }
    return {name: tuple(chosen.get(name, edges)) for name, edges in usual.items()}
