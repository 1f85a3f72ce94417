"""ServerMetrics: the numbers of one served model, rendered as Prometheus families on request.

Counters and histograms are filled by RequestMeter, one per request; gauges and cache counters are read from
the engine's last snapshot at the moment of the scrape. One registry per app, so tests and apps never meet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from quire.api.server.metrics import buckets
from quire.api.server.metrics.distribution import Distribution
from quire.base.config import EngineConfig
from quire.base.messages import EngineStats
from quire.engine.client import ProcessClient

PREFIX = "vllm:"
ENGINE = "0"  # one engine per server today
_LABELS = ("model_name", "engine")

_HISTOGRAMS: tuple[tuple[str, str, str], ...] = (
    # name, bucket family, what is observed
    ("time_to_first_token_seconds", "time_to_first_token", "Arrival to the first token, seconds."),
    ("inter_token_latency_seconds", "inter_token_latency", "Between two tokens of a stream, seconds."),
    (
        "request_time_per_output_token_seconds",
        "inter_token_latency",
        "A request's mean time per token after the first.",
    ),
    ("e2e_request_latency_seconds", "request_latency", "Arrival to the last token, seconds."),
    ("request_queue_time_seconds", "request_latency", "Arrival to first being scheduled, seconds."),
    ("request_prefill_time_seconds", "request_latency", "First scheduled to the first token, seconds."),
    ("request_decode_time_seconds", "request_latency", "First token to the last, seconds."),
    ("request_inference_time_seconds", "request_latency", "First scheduled to the last token, seconds."),
    ("request_prompt_tokens", "request_tokens", "Prompt tokens of a request."),
    ("request_generation_tokens", "request_tokens", "Tokens generated in one sample."),
    ("request_max_num_generation_tokens", "request_tokens", "Tokens of a request's longest sample."),
    ("request_params_n", "request_params_n", "The n asked for."),
    ("request_params_max_tokens", "request_tokens", "The max_tokens in effect."),
    ("request_num_preemptions", "request_num_preemptions", "How often a request was preempted."),
)
_RESIDENCY: tuple[tuple[str, str], ...] = (
    ("kv_block_lifetime_seconds", "From a KV block being filled to its being evicted, seconds."),
    ("kv_block_idle_before_evict_seconds", "From a KV block's last use to its eviction, seconds."),
    ("kv_block_reuse_gap_seconds", "Between two uses of a KV block's prefix, seconds."),
)


class ServerMetrics(Collector):
    """Counts since the server started. `registry` is what `/metrics` renders."""

    def __init__(
        self,
        *,
        model_name: str,
        engine_config: EngineConfig,
        client: ProcessClient,
        buckets_chosen: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        families = buckets.families(engine_config.max_model_len, buckets_chosen or {})
        self.histograms = {name: Distribution(families[family]) for name, family, _ in _HISTOGRAMS}
        self.residency: dict[str, Distribution] = {}  # empty where it is not asked for
        if engine_config.watch.kv_residency_share:
            edges = families["kv_cache_residency"]
            self.residency = {name: Distribution(edges) for name, _ in _RESIDENCY}
            client.listeners.append(self._note_stays)
        self._step_edges = families["iteration_tokens"]
        self._past_work = (0, 0, 0)  # of engines that were replaced
        self._work = (0, 0, 0)
        if engine_config.watch.work is not None:
            client.listeners.append(self._note_work)
        self.prompt_tokens = 0
        self.prompt_tokens_cached = 0
        self.generation_tokens = 0
        self.admission_rejections = 0
        self.successes = dict.fromkeys(("stop", "length", "abort", "error", "repetition"), 0)
        self._values = (model_name, ENGINE)
        self._config = engine_config
        self._client = client
        self.registry = CollectorRegistry()
        self.registry.register(self)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def collect(self) -> Iterator[Metric]:
        stats = self._client.stats
        yield from self._gauges(stats)
        yield from self._counters(stats)
        for name, _, text in _HISTOGRAMS:
            yield self._histogram(name, text, self.histograms[name])
        if self.residency:
            for name, text in _RESIDENCY:
                yield self._histogram(name, text, self.residency[name])
        if self._config.watch.work is not None:
            yield from self._work_counters()
        yield self._step_sizes()
        yield self._cache_info()

    def _histogram(self, name: str, text: str, distribution: Distribution) -> Metric:
        family = HistogramMetricFamily(PREFIX + name, text, labels=_LABELS)
        family.add_metric(self._values, distribution.cumulative(), distribution.total)
        return family

    def _note_stays(self, stats: EngineStats) -> None:
        for stay in stats.block_stays:
            self.residency["kv_block_lifetime_seconds"].observe(stay.lifetime_s)
            self.residency["kv_block_idle_before_evict_seconds"].observe(stay.idle_s)
            for gap_s in stay.reuse_gaps_s:
                self.residency["kv_block_reuse_gap_seconds"].observe(gap_s)

    def _note_work(self, stats: EngineStats) -> None:
        """A new engine counts from nothing again; counters must not fall."""
        work = (stats.flops, stats.read_bytes, stats.written_bytes)
        if work[0] < self._work[0]:
            self._past_work = _sums(self._past_work, self._work)
        self._work = work

    def _work_counters(self) -> Iterable[Metric]:
        """vLLM's names; the one device here is the machine's processor."""
        names = ("estimated_flops_per_gpu", "estimated_read_bytes_per_gpu", "estimated_write_bytes_per_gpu")
        texts = ("Floating-point operations", "Bytes read from memory", "Bytes written to memory")
        for name, text, value in zip(names, texts, _sums(self._past_work, self._work), strict=True):
            counter = CounterMetricFamily(PREFIX + name, f"{text} of all steps, estimated.", labels=_LABELS)
            counter.add_metric(self._values, value)
            yield counter

    def _step_sizes(self) -> Metric:
        """From the client's counts of every step, so that no step between two scrapes is missed."""
        sizes = Distribution(self._step_edges)
        for num_tokens, times in self._client.step_sizes.items():
            sizes.observe(num_tokens, times)
        return self._histogram("iteration_tokens_total", "Tokens per step.", sizes)

    def _gauges(self, stats: EngineStats) -> Iterable[Metric]:
        used = stats.num_blocks_used / stats.num_blocks if stats.num_blocks else 0.0
        for name, text, value in (
            ("num_requests_running", "Sequences in the running batch.", stats.num_running),
            ("num_requests_waiting", "Sequences waiting to be scheduled.", stats.num_waiting),
            ("kv_cache_usage_perc", "Share of KV cache blocks in use, 0 to 1.", used),
        ):
            gauge = GaugeMetricFamily(PREFIX + name, text, labels=_LABELS)
            gauge.add_metric(self._values, value)
            yield gauge

    def _counters(self, stats: EngineStats) -> Iterable[Metric]:
        for name, text, value in (
            (
                "prefix_cache_queries",
                "Tokens looked up in the prefix cache.",
                stats.prefix_cache_queries_tokens,
            ),
            ("prefix_cache_hits", "Tokens found in the prefix cache.", stats.prefix_cache_hits_tokens),
            ("num_preemptions", "Sequences preempted.", stats.num_preemptions),
            ("prompt_tokens", "Prompt tokens processed.", self.prompt_tokens),
            (
                "prompt_tokens_cached",
                "Prompt tokens served from the prefix cache.",
                self.prompt_tokens_cached,
            ),
            ("generation_tokens", "Tokens generated.", self.generation_tokens),
            ("admission_rejections", "Requests refused because too many wait.", self.admission_rejections),
        ):
            counter = CounterMetricFamily(PREFIX + name, text, labels=_LABELS)
            counter.add_metric(self._values, value)
            yield counter
        success = CounterMetricFamily(
            PREFIX + "request_success", "Samples ended, by reason.", labels=(*_LABELS, "finished_reason")
        )
        for reason, count in self.successes.items():
            success.add_metric((*self._values, reason), count)
        yield success

    def _cache_info(self) -> Metric:
        cache = self._config.cache
        info = GaugeMetricFamily(
            PREFIX + "cache_config_info",
            "The KV cache's configuration.",
            labels=("engine", "block_size", "cache_dtype", "enable_prefix_caching", "num_gpu_blocks"),
        )
        values = (
            ENGINE,
            str(cache.block_size),
            cache.dtype,
            str(cache.enable_prefix_caching),
            str(cache.num_blocks),
        )
        info.add_metric(values, 1.0)
        return info


def _sums(one: tuple[int, int, int], other: tuple[int, int, int]) -> tuple[int, int, int]:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]
