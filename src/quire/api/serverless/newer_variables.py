"""Variables that came after the documentation: those of today's worker, of its form, and of this worker alone."""

from __future__ import annotations

from quire.api.serverless.variable import Variable, idle, option, own, refused, successor

_SPECULATIVE = (
    "part of --speculative-config, which is put together from all SPECULATIVE_* and NGRAM_* variables"
)
_OWN_SERVER = "the worker and its server talk over loopback; TLS ends at the platform"

# read by their bare name by so many other programs that a container may hold them for those
RESERVED = frozenset({"HOST", "PORT", "API_KEY", "MODEL", "CONFIG", "HELP"})

NEWER_VARIABLES: tuple[Variable, ...] = (
    own("RUNPOD_COMPAT", "shape of outputs: auto, v1, v2 or v3", default="auto"),
    own("MIN_BATCH_SIZE", "DEFAULT_MIN_BATCH_SIZE, which wins", default="1"),
    own("BATCH_SIZE_GROWTH_FACTOR", "DEFAULT_BATCH_SIZE_GROWTH_FACTOR, which wins", default="3"),
    own("VLLM_PORT", "port of the local server", default="8000"),
    own("VLLM_BASE_URL", "another way to give that port: http://127.0.0.1:PORT"),
    own("VLLM_STARTUP_TIMEOUT", "seconds the server gets to become ready", default="1200"),
    own("REQUEST_TIMEOUT", "seconds one job may take", default="3600"),
    own("BASE_PATH", "volume whose huggingface-cache/hub holds models", default="/runpod-volume"),
    own("VLLM_EXTRA_ARGS", "further options of `quire serve`; they win over variables"),
    own(
        "WORKER_ALLOWED_ROUTES",
        "further routes that jobs may ask for, separated by commas; /x/* allows all below",
    ),
    own("WORKER_MODE", "queue (jobs) or load-balancer (HTTP)", default="queue"),
    own("PORT", "load-balancer mode: port of the API", default="80"),
    own("PORT_HEALTH", "load-balancer mode: port of /ping", default="PORT"),
    option("VLLM_CONFIG_FILE", setting="config", is_alias=True),
    option("MODEL_REVISION", setting="revision", is_alias=True),
    successor("SPECULATIVE_METHOD", "speculative-config", _SPECULATIVE),
    idle("MAX_CONTEXT_LEN_TO_CAPTURE", "graphs are captured by batch size, whatever the context"),
    refused("UDS", "the worker decides where its own server listens"),
    refused("SSL_CERTFILE", _OWN_SERVER),
    refused("SSL_KEYFILE", _OWN_SERVER),
    refused("SSL_CA_CERTS", _OWN_SERVER),
    refused("SSL_CERT_REQS", _OWN_SERVER),
    idle("DEVICE", "the device is the one this build of Quire runs on", default="auto"),
    idle("CALCULATE_KV_SCALES", "scales are read from the checkpoint"),
    idle("OVERRIDE_ATTENTION_DTYPE", "attention computes in the precision of the model"),
    idle("CUDA_GRAPH_SIZES", "replaced by the sizes in --compilation-config"),
    idle("DISABLE_FRONTEND_MULTIPROCESSING", "the engine always has a process of its own"),
    idle("DISABLE_MM_PREPROCESSOR_CACHE", "replaced by MM_PROCESSOR_CACHE_GB=0"),
    idle("ENABLE_LORA_BIAS", "adapters with bias were removed"),
    idle("ENABLE_MULTIMODAL_ENCODER_DATA_PARALLEL", "replaced by MM_ENCODER_TP_MODE=data"),
    idle("EPLB_LOG_BALANCEDNESS", "replaced by EPLB_CONFIG"),
    idle("EPLB_STEP_INTERVAL", "replaced by EPLB_CONFIG"),
    idle("EPLB_WINDOW_SIZE", "replaced by EPLB_CONFIG"),
    idle("GUIDED_DECODING_DISABLE_ADDITIONAL_PROPERTIES", "replaced by STRUCTURED_OUTPUTS_CONFIG"),
    idle("GUIDED_DECODING_DISABLE_ANY_WHITESPACE", "replaced by STRUCTURED_OUTPUTS_CONFIG"),
    idle("GUIDED_DECODING_DISABLE_FALLBACK", "replaced by STRUCTURED_OUTPUTS_CONFIG"),
    idle("LOGITS_PROCESSOR_PATTERN", "requests may not name processors"),
    option("MAX_LONG_PARTIAL_PREFILLS", "1"),
    option("MAX_NUM_PARTIAL_PREFILLS", "1"),
    idle("NUM_REDUNDANT_EXPERTS", "replaced by EPLB_CONFIG"),
    idle("OVERRIDE_POOLER_CONFIG", "replaced by POOLER_CONFIG"),
    idle("TASK", "replaced by RUNNER and CONVERT"),
)

# Options that today's worker also takes in capitals and the settings table may not hold yet; after = stands
# what asks for nothing.
_VALUE_OPTIONS = """
ADDITIONAL_CONFIG ALLOWED_HEADERS ALLOWED_LOCAL_MEDIA_PATH ALLOWED_MEDIA_DOMAINS ALLOWED_METHODS ALLOWED_ORIGINS
API_SERVER_COUNT=1 ATTENTION_BACKEND=auto CHAT_TEMPLATE CHAT_TEMPLATE_CONTENT_FORMAT=auto CODE_REVISION
COLLECT_DETAILED_TRACES COMPILATION_CONFIG CONFIG_FORMAT=auto CONVERT=auto CPU_OFFLOAD_GB=0 DATA_PARALLEL_ADDRESS
DATA_PARALLEL_BACKEND=mp DATA_PARALLEL_RANK DATA_PARALLEL_RPC_PORT DATA_PARALLEL_SIZE=1 DATA_PARALLEL_SIZE_LOCAL=1
DATA_PARALLEL_START_RANK DBO_DECODE_TOKEN_THRESHOLD DBO_PREFILL_TOKEN_THRESHOLD DECODE_CONTEXT_PARALLEL_SIZE=1
DEFAULT_MM_LORAS EPLB_CONFIG EXPERT_PLACEMENT_STRATEGY=linear GENERATION_CONFIG H11_MAX_HEADER_COUNT
H11_MAX_INCOMPLETE_EVENT_SIZE HF_CONFIG_PATH HF_OVERRIDES IGNORE_PATTERNS IO_PROCESSOR_PLUGIN KV_CACHE_MEMORY_BYTES
KV_EVENTS_CONFIG KV_OFFLOADING_BACKEND KV_OFFLOADING_SIZE KV_TRANSFER_CONFIG LIMIT_MM_PER_PROMPT LOG_CONFIG_FILE
LOGITS_PROCESSORS LOGPROBS_MODE LONG_PREFILL_TOKEN_THRESHOLD LORA_MODULES MAMBA_CACHE_DTYPE=auto
MAMBA_SSM_CACHE_DTYPE=auto MEDIA_IO_KWARGS MIDDLEWARE MM_ENCODER_TP_MODE MM_PROCESSOR_CACHE_GB MM_PROCESSOR_CACHE_TYPE
MM_PROCESSOR_KWARGS MM_SHM_CACHE_MAX_OBJECT_SIZE_MB MODEL_IMPL=auto OTLP_TRACES_ENDPOINT OVERRIDE_GENERATION_CONFIG
POOLER_CONFIG PREFIX_CACHING_HASH_ALGO PT_LOAD_MAP_LOCATION=cpu REASONING_PARSER RESPONSE_ROLE REVISION ROOT_PATH
RUNNER=auto SAFETENSORS_LOAD_STRATEGY=lazy SCHEDULER_CLS SCHEDULING_POLICY SERVED_MODEL_NAME
SHOW_HIDDEN_METRICS_FOR_VERSION SPECULATIVE_CONFIG STRUCTURED_OUTPUTS_CONFIG TOOL_CALL_PARSER TOOL_PARSER_PLUGIN
TOOL_SERVER UVICORN_LOG_LEVEL VIDEO_PRUNING_RATE WORKER_CLS=auto WORKER_EXTENSION_CLS
"""

_SWITCH_OPTIONS = """
ALLOW_CREDENTIALS ASYNC_SCHEDULING DATA_PARALLEL_HYBRID_LB DISABLE_CASCADE_ATTN DISABLE_CHUNKED_MM_INPUT
DISABLE_FASTAPI_DOCS DISABLE_HYBRID_KV_CACHE_MANAGER DISABLE_UVICORN_ACCESS_LOG ENABLE_AUTO_TOOL_CHOICE ENABLE_DBO
ENABLE_EPLB ENABLE_EXPERT_PARALLEL ENABLE_FORCE_INCLUDE_USAGE ENABLE_LOG_OUTPUTS ENABLE_LOG_REQUESTS
ENABLE_PROMPT_EMBEDS ENABLE_PROMPT_TOKENS_DETAILS ENABLE_REQUEST_ID_HEADERS ENABLE_SERVER_LOAD_TRACKING
ENABLE_SLEEP_MODE ENABLE_SSL_REFRESH ENABLE_TOKENIZER_INFO_ENDPOINT EXCLUDE_TOOLS_WHEN_TOOL_CHOICE_NONE
INTERLEAVE_MM_STRINGS KV_SHARING_FAST_PREFILL LOG_ERROR_STACK RETURN_TOKENS_AS_TOKEN_IDS SKIP_MM_PROFILING
TRUST_REQUEST_CHAT_TEMPLATE USE_TQDM_ON_LOAD
"""


def _value_option(entry: str) -> Variable:
    name, _, nothing = entry.partition("=")
    return option(name, *([nothing] if nothing else []))


OPTION_VARIABLES: tuple[Variable, ...] = (
    *map(_value_option, _VALUE_OPTIONS.split()),
    *(option(name, "false") for name in _SWITCH_OPTIONS.split()),
)
