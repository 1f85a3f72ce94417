"""PoolingMeter: files the numbers of one pooled prompt when it ends."""

from __future__ import annotations

import time

from quire.api.server.metrics.server_metrics import ServerMetrics
from quire.base.messages import RequestTimes


class PoolingMeter:
    """Call `done` or `failed` when there is an outcome, and `close` once in any case: without one, it was aborted."""

    def __init__(self, metrics: ServerMetrics, num_prompt_tokens: int, arrival_s: float) -> None:
        self._metrics = metrics
        self._num_prompt_tokens = num_prompt_tokens
        self._arrival_s = arrival_s
        self._reason = "abort"

    def done(self, times: RequestTimes | None, num_cached_tokens: int) -> None:
        self._reason = "stop"
        self._metrics.prompt_tokens += self._num_prompt_tokens
        self._metrics.prompt_tokens_cached += num_cached_tokens
        histograms = self._metrics.histograms
        histograms["e2e_request_latency_seconds"].observe(time.monotonic() - self._arrival_s)
        if times is not None and times.scheduled_s > 0.0:
            histograms["request_queue_time_seconds"].observe(times.scheduled_s - times.arrival_s)
            histograms["request_prefill_time_seconds"].observe(times.finished_s - times.scheduled_s)
            histograms["request_inference_time_seconds"].observe(times.finished_s - times.scheduled_s)

    def failed(self) -> None:
        self._reason = "error"

    def close(self) -> None:
        self._metrics.successes[self._reason] += 1
        self._metrics.histograms["request_prompt_tokens"].observe(self._num_prompt_tokens)
