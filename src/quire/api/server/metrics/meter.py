"""RequestMeter: watches one engine request's outputs go by and files its numbers when it ends."""

from __future__ import annotations

import time

from quire.api.server.metrics.server_metrics import ServerMetrics
from quire.base.messages import NAN_IN_LOGITS, EngineRequest, RequestTimes
from quire.text.session import RequestOutput


class RequestMeter:
    """Feed it every delta of a stream with `saw`, and call `close` once, however the stream ended.

    Times on the caller's side are taken here; queue, prefill and decode times come from the engine. Both are
    monotonic seconds of one machine.
    """

    def __init__(self, metrics: ServerMetrics, request: EngineRequest) -> None:
        self._metrics = metrics
        self._request = request
        self._last_token_s: dict[int, float] = {}
        self._num_tokens: dict[int, int] = {}
        self._num_ended = 0
        self._is_corrupted = False
        self._is_counted = False

    def saw(self, output: RequestOutput) -> None:
        now_s = time.monotonic()
        if not self._is_counted:
            self._first(output, now_s)
        for sample in output.outputs:
            if sample.token_ids:
                self._tokens(sample.index, len(sample.token_ids), now_s)
            self._is_corrupted |= sample.error is not None and sample.error.startswith(NAN_IN_LOGITS)
            if sample.finish_reason is not None:
                self._ended(sample.index, sample.finish_reason)
        if output.times is not None and output.finished:
            self._metrics.histograms["request_num_preemptions"].observe(output.num_preemptions)
            self._engine_times(output.times, now_s)

    def close(self) -> None:
        """Files what is left: samples nobody waited for count as aborted."""
        for _ in range(self._num_ended, self._request.sampling.n):
            self._metrics.successes["abort"] += 1
        if self._is_corrupted and self._metrics.corrupted_requests is not None:
            self._metrics.corrupted_requests += 1
        histograms = self._metrics.histograms
        histograms["request_params_n"].observe(self._request.sampling.n)
        histograms["request_params_max_tokens"].observe(self._request.sampling.max_tokens or 0)
        histograms["request_prompt_tokens"].observe(len(self._request.prompt_token_ids))
        longest = max(self._num_tokens.values(), default=0)
        histograms["request_max_num_generation_tokens"].observe(longest)

    def _first(self, output: RequestOutput, now_s: float) -> None:
        self._is_counted = True
        self._metrics.prompt_tokens += len(self._request.prompt_token_ids)
        self._metrics.prompt_tokens_cached += output.num_cached_tokens or 0
        self._metrics.histograms["time_to_first_token_seconds"].observe(now_s - self._request.arrival_s)

    def _tokens(self, index: int, count: int, now_s: float) -> None:
        self._metrics.generation_tokens += count
        self._num_tokens[index] = self._num_tokens.get(index, 0) + count
        last_s = self._last_token_s.get(index)
        self._last_token_s[index] = now_s
        if last_s is not None:
            # Tokens that arrive together share the time since the last ones.
            latency_s = (now_s - last_s) / count
            self._metrics.histograms["inter_token_latency_seconds"].observe(latency_s, times=count)

    def _ended(self, index: int, reason: str) -> None:
        self._num_ended += 1
        self._metrics.successes[reason] += 1
        self._metrics.histograms["request_generation_tokens"].observe(self._num_tokens.get(index, 0))

    def _engine_times(self, times: RequestTimes, now_s: float) -> None:
        histograms = self._metrics.histograms
        histograms["e2e_request_latency_seconds"].observe(now_s - self._request.arrival_s)
        if times.scheduled_s <= 0.0 or times.first_token_s <= 0.0:
            return  # ended before it ran
        decode_s = times.finished_s - times.first_token_s
        histograms["request_queue_time_seconds"].observe(times.scheduled_s - times.arrival_s)
        histograms["request_prefill_time_seconds"].observe(times.first_token_s - times.scheduled_s)
        histograms["request_decode_time_seconds"].observe(decode_s)
        histograms["request_inference_time_seconds"].observe(times.finished_s - times.scheduled_s)
        longest = max(self._num_tokens.values(), default=0)
        if longest > 1:
            histograms["request_time_per_output_token_seconds"].observe(decode_s / (longest - 1))
