"""Settings given as JSON objects, and presets of the whole engine."""

from quire.base.config import kinds
from quire.base.config.rows import Rows
from quire.base.config.states import (
    KV_TRANSFER,
    MULTIMODAL,
    NO_COMPILER,
    NO_GPU,
    NO_GPU_KERNELS,
    PARALLELISM,
    SPECULATION,
    WEIGHT_TRANSFER,
    idle,
)

ROWS = Rows("VllmConfig")

# fmt: off
SETTINGS = (
    ROWS.option("aggregate-engine-logging", kinds.switch(), False, PARALLELISM,
                "With data parallelism log one combined statistic instead of one per engine."),
    ROWS.option("gdn-prefill-backend", kinds.choice("flashinfer", "triton"), None, NO_GPU_KERNELS,
                "Kernel for gated-delta-net prefill."),
    ROWS.option("attention-backend", kinds.text(), None,
                idle("ops choose their kernel by what the processor has", "cpu"),
                "Attention kernel family.", environment=("VLLM_ATTENTION_BACKEND",)),
    ROWS.option("reasoning-parser-plugin", kinds.text(), "", {},
                "Python file with further formats for --reasoning-parser. It runs as part of the server."),
    ROWS.option("cudagraph-capture-sizes", kinds.integer(1), None, NO_GPU, "Batch sizes to capture.", many=True),
    ROWS.option("max-cudagraph-capture-size", kinds.integer(1), None, NO_GPU, "Largest captured size."),
    ROWS.json("ir-op-priority", "IrOpPriorityConfig",
                idle("vLLM 0.33 lets go of it; ops choose their kernel by what the processor has"),
                "Preferred implementations of IR ops."),
    ROWS.option("enable-flashinfer-autotune", kinds.switch(), None, NO_GPU_KERNELS,
                "FlashInfer autotuning in warmup."),
    ROWS.option("moe-backend",
                kinds.choice("aiter", "auto", "cutlass", "deep_gemm", "flashinfer_cutedsl", "flashinfer_cutlass",
                "flashinfer_trtllm", "marlin", "triton", folds=True),
                "auto", idle("ops choose their kernel by what the processor has", "cpu"),
                "MoE kernel family."),
    ROWS.json("speculative-config", "SpeculativeConfig", SPECULATION, "Speculative decoding.", aliases=("-sc",)),
    ROWS.json("kv-transfer-config", "KVTransferConfig", KV_TRANSFER, "KV transfer between instances."),
    ROWS.json("kv-events-config", "KVEventsConfig", {},
                "Publish what enters and leaves the prefix cache (enable_kv_cache_events), over ZeroMQ at endpoint; "
                "replay_endpoint sends batches again."),
    ROWS.json("ec-transfer-config", "ECTransferConfig", MULTIMODAL, "Encoder-cache transfer."),
    ROWS.json("compilation-config", "CompilationConfig", NO_COMPILER,
                "torch.compile and CUDA graph settings.", aliases=("-cc",)),
    ROWS.json("attention-config", "AttentionConfig", idle("ops choose their kernel by what the processor has"),
                "Attention settings.", aliases=("-ac",)),
    ROWS.json("reasoning-config", "ReasoningConfig", {},
                "How thinking ends whose budget (thinking_token_budget of requests) is spent: reasoning_end_str is "
                "written for the model; reasoning_start_str is one more mark by which it begins."),
    ROWS.json("kernel-config", "KernelConfig", idle("ops choose their kernel by what the processor has"),
                "Kernel choice and warmup."),
    ROWS.option("additional-config", kinds.json_object(), {}, idle("no platform Quire runs on has extras"),
                "Platform-specific extras."),
    ROWS.json("structured-outputs-config", "StructuredOutputsConfig", {},
                "How replies are held to a grammar: backend (auto, guidance, xgrammar, outlines), "
                "disable_any_whitespace, disable_additional_properties, enable_in_reasoning."),
    ROWS.json("profiler-config", "ProfilerConfig", {},
                "Profile the engine's steps between /start_profile and /stop_profile; see docs/administration.md."),
    ROWS.option("optimization-level", kinds.number_choice(0, 1, 2, 3), 2, NO_COMPILER,
                "Start-up time against speed preset (-O).", aliases=("-O",)),
    ROWS.json("weight-transfer-config", "WeightTransferConfig", WEIGHT_TRANSFER,
                "Weight updates during RL training."),
)
# fmt: on
