"""What is told of the engine's work: traces, KV cache events, histograms; their settings as structs."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

from quire.base.config.asked import Asked
from quire.base.config.card import ExpertFacts, ModelCard
from quire.base.config.memory import MemoryPlan
from quire.base.config.precision import weight_bytes
from quire.base.config.resolved import DTYPE_BYTES, CacheConfig
from quire.base.errors import ConfigError
from quire.base.observe import KvEventsConfig, TraceConfig, WatchConfig, WorkRates

BUCKET_FAMILIES = (
    "request_latency",
    "time_to_first_token",
    "inter_token_latency",
    "iteration_tokens",
    "request_params_n",
    "request_num_preemptions",
    "request_tokens",
    "kv_cache_residency",
)
TIED_FAMILIES = ("gpt2", "opt", "gemma2", "gemma3_text", "gemma3")  # whose config leaves it out
LOOPBACK = "tcp://127.0.0.1:5557"
_EVENTS = "kv_events_config"
_TRACES = "otlp_traces_endpoint"
_BUCKETS = "custom_histogram_buckets"


def choose_watch(asked: Asked, card: ModelCard, cache: CacheConfig, memory: MemoryPlan) -> WatchConfig:
    """Raises ConfigError for fields of the wrong type and for events of a cache that is switched off."""
    default_share = asked.table.by_dest["kv_cache_metrics_sample"].default
    if asked["kv_cache_metrics_sample"] != default_share and not asked["kv_cache_metrics"]:
        raise ConfigError(
            "--kv-cache-metrics-sample says how many blocks --kv-cache-metrics watches: give that too",
            setting="kv_cache_metrics_sample",
        )
    return WatchConfig(
        kv_residency_share=asked["kv_cache_metrics_sample"] if asked["kv_cache_metrics"] else 0.0,
        work=_work_rates(card, cache, memory) if asked["enable_mfu_metrics"] else None,
        kv_events=_kv_events(asked),
    )


def _work_rates(card: ModelCard, cache: CacheConfig, memory: MemoryPlan) -> WorkRates:
    """A multiplication and an addition for each weight of a matrix and each token; an embedding is only looked up."""
    num_parameters = weight_bytes(card, "float32") // DTYPE_BYTES["float32"]
    embedding = card.vocab_size * card.hidden_size
    is_tied = card.hf_config.get("tie_word_embeddings", card.model_type in TIED_FAMILIES)
    trunk = max(0, num_parameters - embedding * (1 if is_tied else 2))
    experts = card.experts or ExpertFacts(count=0, chosen=0, width=0)
    of_expert = card.num_layers * 3 * card.hidden_size * experts.width
    trunk -= (
        experts.count - experts.chosen
    ) * of_expert  # those that a token does not go through cost it nothing
    heads = card.hf_config.get("num_attention_heads") or card.hf_config.get("n_head")
    num_heads = int(heads or card.hidden_size // card.head_dim)
    return WorkRates(
        flops_per_token=2 * trunk,
        flops_per_pair=2 * 2 * num_heads * card.head_dim * card.num_layers,  # scores, then the sum of values
        flops_per_sampled_row=2 * embedding,
        weight_bytes=memory.weight_bytes,
        kv_bytes_per_token=memory.kv_bytes // (cache.num_blocks * cache.block_size),
        num_experts=experts.count,
        chosen_experts=experts.chosen,
        expert_bytes=memory.weight_bytes * of_expert // max(1, num_parameters),
    )


def _kv_events(asked: Asked) -> KvEventsConfig | None:
    given: dict[str, Any] = asked[_EVENTS] or {}
    is_wanted = _field(given, "enable_kv_cache_events", False)
    publisher = given.get("publisher") or "zmq"
    if publisher not in ("zmq", "null"):
        raise _wrong("publisher", publisher, "zmq or null")
    config = KvEventsConfig(
        endpoint=_field(given, "endpoint", LOOPBACK),
        replay_endpoint=_field(given, "replay_endpoint", None) or "",
        buffer_steps=_field(given, "buffer_steps", 10_000),
        send_limit=_field(given, "hwm", 100_000),
        max_queue_size=_field(given, "max_queue_size", 100_000),
        topic=_field(given, "topic", ""),
        has_int_hashes=asked["kv_events_use_int_block_hashes"],
    )
    for name, endpoint in (("endpoint", config.endpoint), ("replay_endpoint", config.replay_endpoint)):
        if endpoint and not endpoint.startswith(("tcp://", "ipc://")):
            raise _wrong(name, endpoint, "an address such as tcp://127.0.0.1:5557 or ipc:///run/kv-events")
    if not is_wanted or publisher == "null":
        return None
    if not asked["enable_prefix_caching"]:
        raise ConfigError(
            "--kv-events-config.enable_kv_cache_events tells what the prefix cache holds, and "
            "--no-enable-prefix-caching switches that off: give one of them",
            setting=_EVENTS,
        )
    return config


def _field(given: dict[str, Any], name: str, default: Any) -> Any:
    """The field's value, of the default's type; a null counts as left out."""
    value = given.get(name)
    if value is None:
        return default
    if isinstance(default, bool):
        words = {"true": True, "false": False}
        value = words.get(value, value) if isinstance(value, str) else value
        if not isinstance(value, bool):
            raise _wrong(name, value, "true or false")
    elif isinstance(default, int):
        if type(value) is not int or value < 1:
            raise _wrong(name, value, "an integer of at least 1")
    elif not isinstance(value, str):
        raise _wrong(name, value, "text")
    return value


def _wrong(name: str, value: object, allowed: str) -> ConfigError:
    return ConfigError(
        f"--kv-events-config.{name} {str(value)[:60]!r} is not allowed; give {allowed}", setting=_EVENTS
    )


def choose_traces(asked: Asked) -> TraceConfig | None:
    """Raises ConfigError for an endpoint that is no URL, and for details of traces that go nowhere."""
    endpoint: str = asked[_TRACES] or ""
    details = _details(asked)
    if not endpoint:
        if details:
            raise ConfigError(
                "--collect-detailed-traces needs --otlp-traces-endpoint, which says where traces go",
                setting="collect_detailed_traces",
            )
        return None
    protocol = asked["exporter_otlp_traces_protocol"]
    parts = urlsplit(endpoint if "://" in endpoint else f"http://{endpoint}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            f"--otlp-traces-endpoint {endpoint!r} is not allowed; give a URL such as http://127.0.0.1:4317",
            setting=_TRACES,
        )
    return TraceConfig(endpoint=parts.geturl(), protocol=protocol, details=details)


def _details(asked: Asked) -> list[Any]:
    """`all` stands for model and worker; pairs may be written model,worker."""
    words = [word.strip() for item in asked["collect_detailed_traces"] or [] for word in item.split(",")]
    for word in words:
        if word not in ("all", "model", "worker"):
            raise ConfigError(
                f"--collect-detailed-traces {word[:60]!r} is not allowed; give all, model or worker",
                setting="collect_detailed_traces",
            )
    return [name for name in ("model", "worker") if name in words or "all" in words]


def choose_buckets(asked: Asked) -> dict[str, list[float]]:
    """Upper edges by family of histograms. Raises ConfigError unless they are rising, finite numbers."""
    chosen: dict[str, list[float]] = {}
    for family, edges in (asked[_BUCKETS] or {}).items():
        if family not in BUCKET_FAMILIES:
            allowed = ", ".join(BUCKET_FAMILIES)
            raise ConfigError(
                f"--custom-histogram-buckets: {family[:60]!r} is no family of histograms; give any of {allowed}",
                setting=_BUCKETS,
            )
        if not isinstance(edges, list) or not edges or not all(map(_is_number, edges)):
            raise _wrong_edges(family)
        if any(low >= high for low, high in pairwise(edges)):
            raise _wrong_edges(family)
        chosen[family] = [float(edge) for edge in edges]
    return chosen


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _wrong_edges(family: str) -> ConfigError:
    return ConfigError(
        f"--custom-histogram-buckets.{family} is not allowed; give a list of rising numbers such as [0.1, 1, 10]",
        setting=_BUCKETS,
    )
