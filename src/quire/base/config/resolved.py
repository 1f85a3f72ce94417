"""The resolved configuration: immutable, complete, the only thing rooms below the API ever see."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from quire.base.commands import ProfilerConfig
from quire.base.config.card import ModelCard
from quire.base.config.pooler import PoolerConfig
from quire.base.constraints import GrammarConfig
from quire.base.observe import TraceConfig, WatchConfig

Dtype = Literal["float32", "bfloat16", "float16"]
KvDtype = Literal["float32", "bfloat16", "float16", "int8", "float8_e4m3fn", "float8_e5m2"]
DTYPE_BYTES: dict[str, int] = {"float32": 4, "bfloat16": 2, "float16": 2}


class CacheConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The KV pool: `num_blocks` blocks of `block_size` tokens, in `dtype`; `own_dtype_layers` keep the network's.

    With `has_scales` each head of each token has a float32 scale beside its numbers.
    """

    block_size: int
    num_blocks: int
    dtype: KvDtype
    has_scales: bool = False
    own_dtype_layers: list[int] = []
    enable_prefix_caching: bool = True
    hash_algorithm: Literal["sha256", "sha256_cbor"] = "sha256"


class SchedulerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of one step. `long_prefill_token_threshold` 0 means no cap on one prompt's chunk.

    `max_num_partial_prefills` bounds the prompts that are computed in part at a time, `max_long_partial_prefills`
    those of them that are longer than the threshold; 0 is no bound. With `reserve_whole_prompts` a request is
    admitted only when its whole prompt fits the pool. `scheduler_class` is a dotted path, empty for Quire's own.
    `has_kv` is false of encoders, which keep nothing between steps and never split a prompt.
    """

    max_num_batched_tokens: int
    max_num_seqs: int
    policy: Literal["fcfs", "priority"] = "fcfs"
    enable_chunked_prefill: bool = True
    long_prefill_token_threshold: int = 0
    max_num_partial_prefills: int = 0
    max_long_partial_prefills: int = 0
    reserve_whole_prompts: bool = True
    scheduler_class: str = ""
    has_kv: bool = True


class LogConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How both processes log. With `is_ours` false Python's logging is left as it is; `path` is a JSON file for
    `logging.config.dictConfig`, which replaces the rest."""

    is_ours: bool = True
    path: str = ""
    level: str = "INFO"
    prefix: str = ""
    stream: str = "ext://sys.stderr"


class EngineConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the engine process needs to know."""

    card: ModelCard
    dtype: Dtype
    max_model_len: int
    cache: CacheConfig
    scheduler: SchedulerConfig
    load_format: Literal["auto", "safetensors", "pt", "dummy"] = "auto"
    seed: int = 0
    num_threads: int = 0  # 0: one per core granted
    quantization: str = (
        ""  # scheme by which weights are held, see precision.py; empty: as the checkpoint has them
    )
    records_forward: bool = True  # false: the forward pass runs as written
    native_isa: str = "auto"  # instruction set of the native kernels, or "off"
    max_logprobs: int = 20
    logprobs_mode: Literal["raw_logprobs", "processed_logprobs", "raw_logits", "processed_logits"] = (
        "raw_logprobs"
    )
    tokenizer_folder: str = ""  # empty: the model's own folder
    grammar: GrammarConfig = GrammarConfig()
    pooler: PoolerConfig | None = None  # None: the model generates
    log: LogConfig = LogConfig()
    log_steps: bool = False
    cpu_ids: list[int] = []  # processors to compute on; empty: those the process was given
    read_strategy: Literal["lazy", "eager"] = "lazy"
    weight_cache_folder: str = ""  # of packed weights; ~ is expanded where it is used
    weight_cache_bytes: int = 0  # most that it may hold; 0: nothing is written or read
    plugins: list[str] = []  # to run before anything else
    max_n: int = 1024  # samples one request may ask for
    process_name: str = "quire::engine"  # of the engine process, where it has one to itself
    logs_collections: bool = False
    calls_folder: str = ""  # where every call in the engine process is written down; empty: nowhere
    num_logged_types: int = 0  # commonest types of objects in those lines
    watch: WatchConfig = WatchConfig()
    logits_processors: list[str] = []  # paths or entry points of classes of the user's own
    has_tokenizer: bool = True  # false: token ids in and out only
    enable_sleep_mode: bool = False
    worker_class: str = ""  # dotted path of a subclass of Worker; empty: Worker itself
    worker_extension_class: str = ""  # dotted path of a class whose methods the worker gets; empty: none
    profiler: ProfilerConfig | None = None

    @property
    def text_folder(self) -> str:
        """Where tokenizer and chat template are."""
        return self.tokenizer_folder or self.card.folder


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the HTTP side needs to know. Empty strings and lists mean unset."""

    served_model_names: list[str]
    host: str = ""  # every interface when empty
    port: int = 8000
    uds: str = ""
    api_keys: list[str] = []
    api_key_file: str = ""  # more keys, one on each line, read again when the file changes
    root_path: str = ""
    chat_template: str = ""  # a path or the template's text; empty: the model's own
    default_chat_template_kwargs: dict[str, Any] = {}
    response_role: str = "assistant"
    sampling_defaults: dict[str, Any] = {}  # generation_config.json and overrides, as SamplingParams fields
    tool_call_parser: str = ""
    reasoning_parser: str = ""
    reasoning_start: str = ""  # one more beginning of reasoning than the parser's
    reasoning_end: str = ""  # what is written when a budget of thinking is spent; empty: the parser's end
    enable_auto_tool_choice: bool = False
    enable_prompt_tokens_details: bool = False
    enable_request_id_headers: bool = False
    enable_log_requests: bool = False
    counts_corrupted: bool = False  # requests that ended because the model's logits held NaN
    disable_access_log: bool = False
    uvicorn_log_level: str = "info"
    allowed_origins: list[str] = []
    allowed_methods: list[str] = msgspec.field(default_factory=lambda: ["*"])
    allowed_headers: list[str] = msgspec.field(default_factory=lambda: ["*"])
    allow_credentials: bool = False
    ssl_keyfile: str = ""
    ssl_certfile: str = ""
    ssl_ca_certs: str = ""
    ssl_cert_reqs: int = 0  # Python's ssl.VerifyMode
    ssl_ciphers: str = ""
    enable_ssl_refresh: bool = False
    stream_interval_tokens: int = 1
    log_stats_interval_s: float = 10.0  # 0: no such lines
    log_batch_sizes_interval_s: float = 0.0  # 0: no such lines
    max_log_chars: int | None = None  # of a prompt; None: all of it
    quiet_paths: list[str] = []  # their requests get no access log line
    middleware: list[str] = []
    max_header_bytes: int = 64 * 1024
    max_header_count: int = 256
    keep_alive_s: int = 5  # how long an idle connection stays open
    has_ui: bool = True  # the chat page at /
    has_docs: bool = True  # /docs, /redoc and /openapi.json
    has_dev_routes: bool = False
    stores_responses: bool = False  # /v1/responses keeps what it answered, within a bound
    outlives_engine: bool = False  # keep answering after the engine died
    socket_folder: str = ""  # for the socket to the engine; empty: the system's choice
    answer_timeout_s: float | None = None  # of commands to the engine; None: as long as they take
    step_timeout_s: int | None = None  # None: judged by recent steps; 0: a step may take any time
    trust_request_chat_template: bool = False
    reasoning_effort_map: dict[str, str | dict[str, Any]] = {}
    exclude_tools_when_tool_choice_none: bool = True
    return_tokens_as_token_ids: bool = False
    enable_force_include_usage: bool = False
    enable_per_request_metrics: bool = False
    enable_log_outputs: bool = False
    enable_log_deltas: bool = False
    enable_tokenizer_info_endpoint: bool = False
    enable_scale_out: bool = False
    enable_prompt_embeds: bool = False
    tokens_only: bool = False  # no route takes or gives text
    fingerprint_mode: Literal["full", "hash", "custom", "none"] = "full"
    fingerprint_value: str = ""
    sse_keep_alive_s: float = 0.0  # of silence; 0: no such lines
    max_num_queued_reqs: int | None = None  # None: by seats and measured speed; 0: no limit
    max_num_queued_tokens: int | None = None  # None: what the KV cache holds; 0: no limit
    overload_status: Literal["503", "429"] = "503"
    traces: TraceConfig | None = None
    histogram_buckets: dict[str, list[float]] = {}  # upper edges by family, in place of the usual ones
    shutdown_timeout_s: int = 30  # how long a drain may take before streams are aborted


class Decision(msgspec.Struct, frozen=True):
    """One automatic choice: what was chosen, why, and the flag that overrides it."""

    setting: str
    choice: str
    reason: str
    override: str
