"""Every setting changes what comes out: none is read and dropped."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.base.config.conftest import GIB, make_card, make_machine

from quire.base.config import SETTINGS, Asked, resolve
from quire.base.config.setting import Effect

# name → (command line or variables, where it shows, what it must be there)
EFFECTS = {
    "served-model-name": (["m", "--served-model-name", "a", "b"], "server.served_model_names", ["a", "b"]),
    "dtype": (["--dtype", "half"], "engine.dtype", "float16"),
    "max-model-len": (["--max-model-len", "1K"], "engine.max_model_len", 1024),
    "allow-long-max-model-len": (
        ["--max-model-len", "8K", {"VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1"}],
        "engine.max_model_len",
        8192,
    ),
    "seed": (["--seed", "7"], "engine.seed", 7),
    "generation-config": (["--generation-config", "vllm"], "server.sampling_defaults", {}),
    "override-generation-config": (
        ["--override-generation-config.temperature", "0.1"],
        "server.sampling_defaults",
        {"top_k": 9, "temperature": 0.1},
    ),
    "max-logprobs": (["--max-logprobs", "-1"], "engine.max_logprobs", -1),
    "logprobs-mode": (["--logprobs-mode", "raw_logits"], "engine.logprobs_mode", "raw_logits"),
    "runner": (["--runner", "pooling"], "engine.pooler.task", "embed"),
    "convert": (["--convert", "embed"], "engine.pooler.tasks", ["embed", "token_embed"]),
    "pooler-config": (
        ["--runner", "pooling", "--pooler-config.pooling_type", "MEAN"],
        "engine.pooler.sequence",
        "MEAN",
    ),
    "load-format": (["--load-format", "dummy"], "engine.load_format", "dummy"),
    "block-size": (["--block-size", "32"], "engine.cache.block_size", 32),
    "gpu-memory-utilization": (
        ["--gpu-memory-utilization", "0.25"],
        "engine.cache.num_blocks",
        3065,
    ),
    "kv-cache-memory-bytes": (["--kv-cache-memory-bytes", "1G"], "memory.kv_bytes", GIB),
    "cpu-kvcache-space": ([{"VLLM_CPU_KVCACHE_SPACE": "3"}], "memory.kv_bytes", 3 * GIB),
    "num-gpu-blocks-override": (["--num-gpu-blocks-override", "300"], "engine.cache.num_blocks", 300),
    "kv-cache-dtype": (["--kv-cache-dtype", "int8_per_token_head"], "engine.cache.dtype", "int8"),
    "kv-cache-dtype-skip-layers": (
        ["--kv-cache-dtype-skip-layers", "0", "2"],
        "engine.cache.own_dtype_layers",
        [0, 2],
    ),
    "enable-prefix-caching": (["--no-enable-prefix-caching"], "engine.cache.enable_prefix_caching", False),
    "max-num-batched-tokens": (
        ["--max-num-batched-tokens", "1k"],
        "engine.scheduler.max_num_batched_tokens",
        1000,
    ),
    "max-num-queued-reqs": (["--max-num-queued-reqs", "9"], "server.max_num_queued_reqs", 9),
    "max-num-queued-tokens": (["--max-num-queued-tokens", "3k"], "server.max_num_queued_tokens", 3000),
    "overload-status": (["--overload-status", "429"], "server.overload_status", "429"),
    "max-num-seqs": (["--max-num-seqs", "3"], "engine.scheduler.max_num_seqs", 3),
    "scheduling-policy": (["--scheduling-policy", "priority"], "engine.scheduler.policy", "priority"),
    "enable-chunked-prefill": (
        ["--no-enable-chunked-prefill"],
        "engine.scheduler.enable_chunked_prefill",
        False,
    ),
    "long-prefill-token-threshold": (
        ["--long-prefill-token-threshold", "100"],
        "engine.scheduler.long_prefill_token_threshold",
        100,
    ),
    "omp-num-threads": ([{"OMP_NUM_THREADS": "3"}], "engine.num_threads", 3),
    "quantization": (["--quantization", "int8"], "engine.quantization", "int8"),
    "int4-group-size": (
        ["--quantization", "int4", "--int4-group-size", "128"],
        "engine.quantization",
        "int4-128",
    ),
    "int4-activations": (
        ["--quantization", "int4", "--int4-activations", "exact"],
        "engine.quantization",
        "int4-64-exact",
    ),
    "safetensors-load-strategy": (["--safetensors-load-strategy", "eager"], "engine.read_strategy", "eager"),
    "weight-cache-bytes": (["--weight-cache-bytes", "1G"], "engine.weight_cache_bytes", GIB),
    "cache-root": ([{"VLLM_CACHE_ROOT": "/c"}], "engine.weight_cache_folder", "/c/weights"),
    "native-isa": (["--native-isa", "scalar"], "engine.native_isa", "scalar"),
    "host": (["--host", "127.0.0.1"], "server.host", "127.0.0.1"),
    "port": (["--port", "9000"], "server.port", 9000),
    "uds": (["--uds", "/tmp/s"], "server.uds", "/tmp/s"),
    "api-key": (["--api-key", "k"], "server.api_keys", ["k"]),
    "root-path": (["--root-path", "/llm"], "server.root_path", "/llm"),
    "chat-template": (["--chat-template", "{{ x }}"], "server.chat_template", "{{ x }}"),
    "default-chat-template-kwargs": (
        ["--default-chat-template-kwargs", '{"a": 1}'],
        "server.default_chat_template_kwargs",
        {"a": 1},
    ),
    "tool-call-parser": (["--tool-call-parser", "mistral"], "server.tool_call_parser", "mistral"),
    "enable-auto-tool-choice": (
        ["--enable-auto-tool-choice", "--tool-call-parser", "hermes"],
        "server.enable_auto_tool_choice",
        True,
    ),
    "structured-outputs-config": (
        ["--structured-outputs-config", '{"backend": "outlines"}'],
        "engine.grammar.backend",
        "outlines",
    ),
    "xgrammar-cache-mb": ([{"VLLM_XGRAMMAR_CACHE_MB": "3"}], "engine.grammar.cache_bytes", 3 << 20),
    "regex-compilation-timeout-s": (
        [{"VLLM_REGEX_COMPILATION_TIMEOUT_S": "0.5"}],
        "engine.grammar.compile_timeout_s",
        0.5,
    ),
    "reasoning-config": (
        ["--reasoning-parser", "qwen3", "--reasoning-config.reasoning_end_str", "Done.</think>"],
        "server.reasoning_end",
        "Done.</think>",
    ),
    "reasoning-parser": (["--reasoning-parser", "qwen3"], "server.reasoning_parser", "qwen3"),
    "response-role": (["--response-role", "bot"], "server.response_role", "bot"),
    "enable-prompt-tokens-details": (
        ["--enable-prompt-tokens-details"],
        "server.enable_prompt_tokens_details",
        True,
    ),
    "enable-request-id-headers": (["--enable-request-id-headers"], "server.enable_request_id_headers", True),
    "enable-log-requests": (["--enable-log-requests"], "server.enable_log_requests", True),
    "enable-responses-api-store": (
        [{"VLLM_ENABLE_RESPONSES_API_STORE": "1"}],
        "server.stores_responses",
        True,
    ),
    "uvicorn-log-level": (["--uvicorn-log-level", "error"], "server.uvicorn_log_level", "error"),
    "ui": (["--no-ui"], "server.has_ui", False),
    "disable-fastapi-docs": (["--disable-fastapi-docs"], "server.has_docs", False),
    "disable-uvicorn-access-log": (["--disable-uvicorn-access-log"], "server.disable_access_log", True),
    "allowed-origins": (["--allowed-origins", "https://a"], "server.allowed_origins", ["https://a"]),
    "allowed-methods": (["--allowed-methods", "GET"], "server.allowed_methods", ["GET"]),
    "allowed-headers": (["--allowed-headers", "x"], "server.allowed_headers", ["x"]),
    "allow-credentials": (["--allow-credentials"], "server.allow_credentials", True),
    "ssl-keyfile": (["--ssl-keyfile", "k.pem", "--ssl-certfile", "c.pem"], "server.ssl_keyfile", "k.pem"),
    "ssl-certfile": (["--ssl-certfile", "c.pem"], "server.ssl_certfile", "c.pem"),
    "ssl-ca-certs": (["--ssl-ca-certs", "a.pem"], "server.ssl_ca_certs", "a.pem"),
    "ssl-cert-reqs": (["--ssl-cert-reqs", "2", "--ssl-ca-certs", "a.pem"], "server.ssl_cert_reqs", 2),
    "ssl-ciphers": (["--ssl-ciphers", "HIGH"], "server.ssl_ciphers", "HIGH"),
    "enable-ssl-refresh": (
        ["--enable-ssl-refresh", "--ssl-certfile", "c.pem"],
        "server.enable_ssl_refresh",
        True,
    ),
    "api-key-file": (["--api-key-file", "k"], "server.api_key_file", "k"),
    "enable-sleep-mode": (["--enable-sleep-mode"], "engine.enable_sleep_mode", True),
    "worker-cls": (["--worker-cls", "a.B"], "engine.worker_class", "a.B"),
    "worker-extension-cls": (["--worker-extension-cls", "a.B"], "engine.worker_extension_class", "a.B"),
    "torch-profiler-dir": ([{"VLLM_TORCH_PROFILER_DIR": "/t"}], "engine.profiler.folder", "/t"),
    "profiler-config": (
        ["--profiler-config", '{"profiler": "torch", "torch_profiler_dir": "/t", "max_iterations": 3}'],
        "engine.profiler.max_iterations",
        3,
    ),
    "rpc-timeout": ([{"VLLM_RPC_TIMEOUT": "1500"}], "server.answer_timeout_s", 1.5),
    "shutdown-timeout": (["--shutdown-timeout", "5"], "server.shutdown_timeout_s", 5),
    "trust-request-chat-template": (
        ["--trust-request-chat-template"],
        "server.trust_request_chat_template",
        True,
    ),
    "reasoning-effort-map": (
        ["--reasoning-effort-map", '{"none": {"enable_thinking": false}, "minimal": "low"}'],
        "server.reasoning_effort_map",
        {"none": {"enable_thinking": False}, "minimal": "low"},
    ),
    "exclude-tools-when-tool-choice-none": (
        ["--no-exclude-tools-when-tool-choice-none"],
        "server.exclude_tools_when_tool_choice_none",
        False,
    ),
    "return-tokens-as-token-ids": (
        ["--return-tokens-as-token-ids"],
        "server.return_tokens_as_token_ids",
        True,
    ),
    "enable-force-include-usage": (
        ["--enable-force-include-usage"],
        "server.enable_force_include_usage",
        True,
    ),
    "enable-per-request-metrics": (
        ["--enable-per-request-metrics"],
        "server.enable_per_request_metrics",
        True,
    ),
    "sse-keep-alive-interval": (["--sse-keep-alive-interval", "2"], "server.sse_keep_alive_s", 2.0),
    "fingerprint-mode": (["--fingerprint-mode", "hash"], "server.fingerprint_mode", "hash"),
    "fingerprint-value": (
        ["--fingerprint-mode", "custom", "--fingerprint-value", "x"],
        "server.fingerprint_value",
        "x",
    ),
    "enable-log-outputs": (["--enable-log-outputs"], "server.enable_log_outputs", True),
    "enable-log-deltas": (["--enable-log-deltas"], "server.enable_log_deltas", True),
    "enable-tokenizer-info-endpoint": (
        ["--enable-tokenizer-info-endpoint"],
        "server.enable_tokenizer_info_endpoint",
        True,
    ),
    "enable-prompt-embeds": (["--enable-prompt-embeds"], "server.enable_prompt_embeds", True),
    "tokens-only": (["--tokens-only"], "server.tokens_only", True),
    "enable-scale-out": (["--enable-scale-out"], "server.enable_scale_out", True),
    "performance-mode": (
        ["--performance-mode", "throughput"],
        "engine.scheduler.max_num_batched_tokens",
        4096,
    ),
    "kv-cache-metrics": (["--kv-cache-metrics"], "engine.watch.kv_residency_share", 0.01),
    "kv-cache-metrics-sample": (
        ["--kv-cache-metrics", "--kv-cache-metrics-sample", "0.5"],
        "engine.watch.kv_residency_share",
        0.5,
    ),
    "enforce-eager": (["--enforce-eager"], "engine.records_forward", False),
    "compute-nans-in-logits": ([{"VLLM_COMPUTE_NANS_IN_LOGITS": "1"}], "server.counts_corrupted", True),
    "skip-tokenizer-init": (["--skip-tokenizer-init"], "engine.has_tokenizer", False),
    "custom-histogram-buckets": (
        ["--custom-histogram-buckets", '{"request_tokens": [1, 2]}'],
        "server.histogram_buckets",
        {"request_tokens": [1.0, 2.0]},
    ),
    "cpu-omp-threads-bind": ([{"VLLM_CPU_OMP_THREADS_BIND": "0-2,5"}], "engine.cpu_ids", [0, 1, 2, 5]),
    "cpu-num-of-reserved-cpu": (
        [{"VLLM_CPU_NUM_OF_RESERVED_CPU": "3"}],
        "engine.cpu_ids",
        [0, 1, 2, 3, 4],
    ),
}

# these act on files or on the command itself, before or around resolve
SHOWN_ELSEWHERE = {
    "model": "tests/api/test_startup.py",
    "tokenizer": "tests/api/test_startup.py",
    "revision": "tests/api/test_startup.py",
    "download-dir": "tests/api/test_startup.py",
    "hf-overrides": "tests/api/test_startup.py",
    "config": "tests/base/config/test_file.py",
    "fail-on-environ-validation": "tests/base/config/test_environment.py",
    "log-error-stack": "tests/api/cli/test_main.py",
    "runner": "tests/base/config/test_coverage.py",
    "convert": "tests/base/config/test_coverage.py",
    "tokenizer-mode": "tests/base/config/test_coverage.py",
    "config-format": "tests/base/config/test_coverage.py",
    "model-impl": "tests/base/config/test_coverage.py",
    "no-usage-stats": "tests/api/test_startup.py",
    "sleep-when-idle": "tests/engine/client/test_process_settings.py",
    "hf-config-path": "tests/api/test_startup.py",
    "tokenizer-revision": "tests/api/test_startup.py",
    "hf-token": "tests/model/checkpoint/test_download.py",
    "model-redirect-path": "tests/api/test_startup.py",
    "disable-sliding-window": "tests/api/test_startup.py",
    "ignore-patterns": "tests/model/checkpoint/test_download.py",
    "use-tqdm-on-load": "tests/model/checkpoint/test_download.py",
    "prefix-caching-hash-algo": "tests/engine/kv/test_hashing.py",
    "max-num-partial-prefills": "tests/engine/scheduler/test_partial.py",
    "max-long-partial-prefills": "tests/engine/scheduler/test_partial.py",
    "scheduler-reserve-full-isl": "tests/engine/scheduler/test_partial.py",
    "scheduler-cls": "tests/engine/core/test_settings.py",
    "enable-logging-iteration-details": "tests/engine/core/test_settings.py",
    "stream-interval": "tests/text/session/test_stream.py",
    "max-n-sequences": "tests/text/session/test_session.py",
    "configure-logging": "tests/api/server/test_logs.py",
    "logging-config-path": "tests/api/server/test_logs.py",
    "logging-level": "tests/api/server/test_logs.py",
    "logging-prefix": "tests/api/server/test_logs.py",
    "logging-stream": "tests/api/server/test_logs.py",
    "disable-access-log-for-endpoints": "tests/api/server/test_logs.py",
    "disable-log-stats": "tests/api/server/test_lifecycle_settings.py",
    "log-stats-interval": "tests/api/server/test_lifecycle_settings.py",
    "log-batchsize-interval": "tests/api/server/test_lifecycle_settings.py",
    "tool-strict-level": "tests/base/config/test_coverage.py",
    "max-log-len": "tests/api/server/test_lifecycle_settings.py",
    "keep-alive-on-engine-death": "tests/api/server/test_lifecycle_settings.py",
    "enable-offline-docs": "tests/api/server/web/test_pages.py",
    "server-dev-mode": "tests/api/server/test_lifecycle_settings.py",
    "middleware": "tests/api/server/test_lifecycle_settings.py",
    "http-timeout-keep-alive": "tests/api/server/test_lifecycle_settings.py",
    "h11-max-incomplete-event-size": "tests/api/server/test_http_protocol.py",
    "h11-max-header-count": "tests/api/server/test_http_protocol.py",
    "otlp-traces-endpoint": "tests/api/tracing/test_tracer.py",
    "collect-detailed-traces": "tests/api/tracing/test_tracer.py",
    "exporter-otlp-traces-protocol": "tests/api/tracing/test_tracer.py",
    "kv-events-config": "tests/engine/publisher/test_publisher.py",
    "kv-events-use-int-block-hashes": "tests/engine/kv/test_news.py",
    "enable-mfu-metrics": "tests/base/config/test_observing.py",
    "tool-parser-plugin": "tests/api/test_startup.py",
    "reasoning-parser-plugin": "tests/api/test_startup.py",
    "logits-processors": "tests/worker/sampling/test_own_steps.py",
    "plugins": "tests/base/test_plugins.py",
    "process-name-prefix": "tests/engine/client/test_process_settings.py",
    "trace-function": "tests/engine/client/test_process_settings.py",
    "gc-debug": "tests/engine/client/test_process_settings.py",
    "enable-server-load-tracking": "tests/api/server/test_probes.py",
    "custom-scopes-for-profiling": "tests/worker/executor/test_profiler.py",
    "rpc-base-path": "tests/engine/client/test_process_settings.py",
    "execute-model-timeout-seconds": "tests/engine/client/test_process_settings.py",
}


def resolve_with(words):
    flags = [word for word in words if isinstance(word, str)]
    environ = {name: value for word in words if isinstance(word, dict) for name, value in word.items()}
    card = make_card(sampling_defaults={"top_k": 9})
    return resolve(Asked.from_arguments(flags, environ), card, make_machine())


def at(resolution, place: str):
    value = resolution
    for name in place.split("."):
        value = getattr(value, name) if value is not None else None
    return value


@pytest.mark.parametrize("name", EFFECTS)
def test_setting_has_its_effect(name):
    words, place, expected = EFFECTS[name]
    assert at(resolve_with(words), place) == expected
    assert at(resolve_with([]), place) != expected  # or the setting would prove nothing


def test_tests_that_show_settings_elsewhere_exist():
    root = Path(__file__).parents[3]
    assert not [path for path in set(SHOWN_ELSEWHERE.values()) if not (root / path).exists()]


def test_every_effective_setting_is_shown():
    effective = {
        s.name for s in SETTINGS.all if s.state_on("cpu").effect is Effect.EFFECTIVE and not s.is_shared
    }
    assert effective == EFFECTS.keys() | SHOWN_ELSEWHERE.keys()
