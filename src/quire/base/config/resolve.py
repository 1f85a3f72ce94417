"""resolve: what was asked, the model and the machine become one immutable configuration, with reasons.

Pure: no files, no clock, no environment. What must be read from disk is read before and comes in the card.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from quire.base.config.asked import Asked
from quire.base.config.card import ModelCard
from quire.base.config.entrance import entrance
from quire.base.config.generation import sampling_defaults
from quire.base.config.grammar import choose_grammar
from quire.base.config.memory import MemoryPlan, plan_memory, within_text_length
from quire.base.config.observing import choose_buckets, choose_traces, choose_watch
from quire.base.config.parsers import FoundParsers, Parsers, choose_parsers
from quire.base.config.pooling import choose_pooling
from quire.base.config.precision import choose_dtype, choose_quantization
from quire.base.config.processors import choose_processors
from quire.base.config.profiling import choose_profiler
from quire.base.config.replies import SAME_NAME, effort_map, fingerprint_value
from quire.base.config.resolved import (
    Decision,
    EngineConfig,
    LogConfig,
    SchedulerConfig,
    ServerConfig,
)
from quire.base.errors import ConfigError
from quire.base.hardware import Machine

DEFAULT_MAX_NUM_BATCHED_TOKENS = 2048
DEFAULT_MAX_NUM_SEQS = 128


@dataclass(frozen=True, slots=True)
class Resolution:
    """The whole outcome: configurations for engine and server, and how they came about."""

    engine: EngineConfig
    server: ServerConfig
    decisions: list[Decision]
    memory: MemoryPlan


def resolve(
    asked: Asked,
    card: ModelCard,
    machine: Machine,
    *,
    tokenizer_folder: str = "",
    found_parsers: FoundParsers | None = None,
) -> Resolution:
    """Raises ConfigError, naming the setting, for what this model or machine cannot do.

    `tokenizer_folder` is where `--tokenizer` was found, empty for the model's own. `found_parsers` is what the
    model's chat template suggests.
    """
    decisions = asked.refuse_by_state(machine.platform)
    dtype, chosen = choose_dtype(asked, card, machine)
    decisions += chosen
    quantization, chosen = choose_quantization(asked)
    decisions += chosen
    cpu_ids, chosen = choose_processors(asked, machine)
    decisions += chosen
    num_threads, chosen = _threads(asked, machine, cpu_ids)
    decisions += chosen
    pooler, chosen = choose_pooling(asked, card)
    decisions += chosen
    if pooler is not None:
        card = within_text_length(card, asked)
    scheduler, chosen = _scheduler(asked, card)
    decisions += chosen
    max_model_len, cache, memory, chosen = plan_memory(asked, card, machine, dtype, scheduler, quantization)
    decisions += chosen
    _check_threshold(asked, max_model_len)
    grammar, chosen = choose_grammar(asked)
    decisions += chosen
    engine = EngineConfig(
        card=card,
        dtype=dtype,
        max_model_len=max_model_len,
        cache=cache,
        scheduler=scheduler,
        seed=asked["seed"],
        num_threads=num_threads,
        quantization=quantization,
        native_isa=asked["native_isa"],
        max_logprobs=asked["max_logprobs"],
        logprobs_mode=asked["logprobs_mode"],
        tokenizer_folder=tokenizer_folder,
        grammar=grammar,
        pooler=pooler,
        cpu_ids=cpu_ids,
        watch=choose_watch(asked, card, cache, memory),
        has_tokenizer=not asked["skip_tokenizer_init"],
        **_loading(asked),
        **_process(asked),
        **_administration(asked),
    )
    parsers, chosen = choose_parsers(asked, found_parsers or FoundParsers())
    decisions += chosen
    return Resolution(engine, _server(asked, card, parsers), decisions, memory)


def _loading(asked: Asked) -> dict[str, Any]:
    """Where weights come from, and how they are read."""
    return {
        "load_format": "auto" if asked["load_format"] == "hf" else asked["load_format"],
        "read_strategy": "eager" if asked["safetensors_load_strategy"] == "eager" else "lazy",
        "weight_cache_folder": f"{_cache_root(asked)}/weights",
        "weight_cache_bytes": asked["weight_cache_bytes"],
    }


def _process(asked: Asked) -> dict[str, Any]:
    """What the engine's process runs of others, what it takes, and how it shows itself."""
    return {
        "plugins": asked["plugins"],
        "logits_processors": asked["logits_processors"],
        "log": _log(asked),
        "log_steps": asked["enable_logging_iteration_details"],
        "max_n": asked["max_n_sequences"],
        "records_forward": not asked["enforce_eager"],
        "process_name": f"{asked['process_name_prefix']}::engine",
        "logs_collections": asked["gc_debug"] is not None,
        "num_logged_types": asked["gc_debug"] or 0,
        "calls_folder": f"{_cache_root(asked)}/calls" if asked["trace_function"] else "",
    }


def _administration(asked: Asked) -> dict[str, Any]:
    """Fields of EngineConfig that concern whoever runs the engine."""
    return {
        "enable_sleep_mode": asked["enable_sleep_mode"],
        "worker_class": "" if asked["worker_cls"] == "auto" else asked["worker_cls"],
        "worker_extension_class": asked["worker_extension_cls"],
        "profiler": choose_profiler(asked),
    }


def _cache_root(asked: Asked) -> str:
    return asked["cache_root"] or f"{asked['xdg_cache_home'] or '~/.cache'}/quire"


def _log(asked: Asked) -> LogConfig:
    return LogConfig(
        is_ours=asked["configure_logging"],
        path=asked["logging_config_path"] or "",
        level=asked["logging_level"],
        prefix=asked["logging_prefix"],
        stream=asked["logging_stream"],
    )


def _threads(asked: Asked, machine: Machine, cpu_ids: list[int]) -> tuple[int, list[Decision]]:
    if asked.is_given("omp_num_threads"):
        return asked["omp_num_threads"], []
    if cpu_ids:
        reason = "one for each processor the engine is bound to"
        return len(cpu_ids), [Decision("omp-num-threads", str(len(cpu_ids)), reason, "OMP_NUM_THREADS")]
    count = machine.num_physical_cores
    reason = f"{machine.num_cores} cores granted"
    if machine.cores_limited_by:
        reason += f" by {machine.cores_limited_by}"
    if count < machine.num_cores:
        reason = f"{count} physical cores behind {machine.num_cores} hardware threads"
    return count, [Decision("omp-num-threads", str(count), reason, "OMP_NUM_THREADS")]


def _scheduler(asked: Asked, card: ModelCard) -> tuple[SchedulerConfig, list[Decision]]:
    """Step limits. A step must hold one token of every running sequence, and whole prompts if none is split."""
    decisions = []
    is_chunked: bool = asked["enable_chunked_prefill"] and not card.is_encoder
    _check_encoder(asked, card)
    asked_len = asked["max_model_len"]
    longest = card.max_model_len if asked_len in (None, -1) else asked_len
    tokens: int | None = asked["max_num_batched_tokens"]
    times, reason_for_default = 1, "the default on CPU"
    if asked["performance_mode"] == "throughput":
        times, reason_for_default = 2, "twice the default on CPU, by --performance-mode throughput"
    if tokens is None:
        tokens, reason = times * DEFAULT_MAX_NUM_BATCHED_TOKENS, reason_for_default
        if not is_chunked and longest > tokens:
            tokens, reason = longest, "prompts are not split, the longest must fit one step"
        decisions.append(Decision("max-num-batched-tokens", str(tokens), reason, "--max-num-batched-tokens"))
    elif not is_chunked and tokens < longest:
        raise ConfigError(
            f"--max-num-batched-tokens {tokens} is less than the context of {longest} tokens, and "
            "--no-enable-chunked-prefill leaves prompts whole: raise it, lower --max-model-len, or allow chunks",
            setting="max_num_batched_tokens",
        )
    sequences: int | None = asked["max_num_seqs"]
    if sequences is None:
        sequences, reason = times * DEFAULT_MAX_NUM_SEQS, reason_for_default
        if tokens < sequences:
            sequences, reason = tokens, f"a step of {tokens} tokens holds no more"
        decisions.append(Decision("max-num-seqs", str(sequences), reason, "--max-num-seqs"))
    elif sequences > tokens:
        raise ConfigError(
            f"--max-num-seqs {sequences} is more than --max-num-batched-tokens {tokens}: each running sequence "
            "takes at least one token of a step",
            setting="max_num_seqs",
        )
    scheduler = SchedulerConfig(
        max_num_batched_tokens=tokens,
        max_num_seqs=sequences,
        policy=asked["scheduling_policy"],
        enable_chunked_prefill=is_chunked,
        long_prefill_token_threshold=asked["long_prefill_token_threshold"],
        max_num_partial_prefills=asked["max_num_partial_prefills"] or 0,
        max_long_partial_prefills=asked["max_long_partial_prefills"] or 0,
        reserve_whole_prompts=asked["scheduler_reserve_full_isl"],
        scheduler_class=asked["scheduler_cls"] or "",
        has_kv=not card.is_encoder,
    )
    return scheduler, decisions


def _check_encoder(asked: Asked, card: ModelCard) -> None:
    """What an encoder has no use for is refused where it was asked for: it takes prompts whole and keeps nothing."""
    for name in ("enable_chunked_prefill", "enable_prefix_caching", "long_prefill_token_threshold"):
        if card.is_encoder and asked.is_given(name) and asked[name]:
            flag = f"--{name.replace('_', '-')}"
            raise ConfigError(
                f"{flag}: {card.name} is an encoder, whose tokens look both ways, so prompts are computed whole and "
                "nothing is cached; leave it out",
                setting=name,
            )


def _check_threshold(asked: Asked, max_model_len: int) -> None:
    threshold: int = asked["long_prefill_token_threshold"]
    if threshold > max_model_len:
        raise ConfigError(
            f"--long-prefill-token-threshold {threshold} is beyond the context of {max_model_len} tokens; give at "
            "most that, or 0 for no threshold",
            setting="long_prefill_token_threshold",
        )
    if threshold and not asked["enable_chunked_prefill"]:
        raise ConfigError(
            "--long-prefill-token-threshold splits prompts and --no-enable-chunked-prefill forbids it: give one",
            setting="long_prefill_token_threshold",
        )
    most, most_long = asked["max_num_partial_prefills"], asked["max_long_partial_prefills"]
    if most and most_long and most_long > most:
        raise ConfigError(
            f"--max-long-partial-prefills {most_long} is more than --max-num-partial-prefills {most}: long prompts "
            "are among those; give at most as many",
            setting="max_long_partial_prefills",
        )
    if (most_long or 0) > 1 and not threshold:  # 1 is vLLM's default: asking for it asks for nothing
        raise ConfigError(
            "--max-long-partial-prefills needs --long-prefill-token-threshold, which says what is long",
            setting="max_long_partial_prefills",
        )


def _server(asked: Asked, card: ModelCard, parsers: Parsers) -> ServerConfig:
    return ServerConfig(
        served_model_names=asked["served_model_name"] or [card.name],
        host=asked["host"] or "",
        uds=asked["uds"] or "",
        counts_corrupted=asked["compute_nans_in_logits"],
        disable_access_log=asked["disable_uvicorn_access_log"],
        shutdown_timeout_s=asked["shutdown_timeout"],
        stream_interval_tokens=asked["stream_interval"],
        log_stats_interval_s=0.0 if asked["disable_log_stats"] else asked["log_stats_interval"],
        log_batch_sizes_interval_s=max(0.0, asked["log_batchsize_interval"]),
        max_log_chars=asked["max_log_len"],
        quiet_paths=[
            path.strip() for path in asked["disable_access_log_for_endpoints"].split(",") if path.strip()
        ],
        max_header_bytes=asked["h11_max_incomplete_event_size"],
        max_header_count=asked["h11_max_header_count"],
        keep_alive_s=asked["http_timeout_keep_alive"],
        has_ui=asked["ui"],
        has_docs=not asked["disable_fastapi_docs"],
        has_dev_routes=asked["server_dev_mode"],
        stores_responses=asked["enable_responses_api_store"],
        outlives_engine=asked["keep_alive_on_engine_death"],
        socket_folder=asked["rpc_base_path"] or "",
        step_timeout_s=asked["execute_model_timeout_seconds"],
        answer_timeout_s=asked["rpc_timeout"] / 1000 if asked["rpc_timeout"] else None,
        sse_keep_alive_s=asked["sse_keep_alive_interval"],
        sampling_defaults=sampling_defaults(asked, card),
        traces=choose_traces(asked),
        histogram_buckets=choose_buckets(asked),
        tool_call_parser=parsers.tool,
        reasoning_parser=parsers.reasoning,
        reasoning_start=parsers.reasoning_start,
        reasoning_end=parsers.reasoning_end,
        enable_auto_tool_choice=parsers.auto_tool_choice,
        reasoning_effort_map=effort_map(asked),
        fingerprint_value=fingerprint_value(asked),
        **entrance(asked),
        **{name: asked[name] for name in SAME_NAME},
    )
