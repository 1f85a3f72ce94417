"""Settings of the KV cache: its blocks and its share of memory."""

from quire.base.config import kinds
from quire.base.config.rows import Rows
from quire.base.config.setting import Setting
from quire.base.config.states import MAMBA, awaits, by_value, gone_idle, idle, refused

GROUP = "CacheConfig"

SETTINGS = (
    Setting(
        name="block-size",
        group=GROUP,
        kind=kinds.integer(1, 512),
        default=16,
        doc="Tokens in one KV block.",
    ),
    Setting(
        name="gpu-memory-utilization",
        group=GROUP,
        kind=kinds.number(0.0, 1.0, low_is_allowed=False),
        default_text="0.5 on CPU, more when the context needs it",
        doc="Share of the available memory that weights, KV cache and working memory may take together. The name is "
        "vLLM's; on a CPU machine it means main memory.",
    ),
    Setting(
        name="kv-cache-memory-bytes",
        group=GROUP,
        kind=kinds.human_integer(1),
        default_text="from memory",
        doc="Exact size of the KV cache, such as 4G; no share of memory is computed then.",
    ),
    Setting(
        name="cpu-kvcache-space",
        group=GROUP,
        kind=kinds.integer(0),
        default=0,
        has_flag=False,
        environment=("VLLM_CPU_KVCACHE_SPACE",),
        doc="Size of the KV cache in GiB; 0 sizes it from memory. --kv-cache-memory-bytes wins over it.",
    ),
    Setting(
        name="num-gpu-blocks-override",
        group=GROUP,
        kind=kinds.integer(1),
        default_text="from memory",
        doc="Exact number of KV blocks, whatever memory says; made for testing preemption.",
    ),
    Setting(
        name="enable-prefix-caching",
        group=GROUP,
        kind=kinds.switch(),
        default=True,
        doc="Keep the KV blocks of finished requests and reuse them for prompts that begin alike.",
    ),
)

ROWS = Rows(GROUP)

# fmt: off
IN_SHORT = (
    ROWS.option("prefix-caching-hash-algo", kinds.choice("sha256", "sha256_cbor", "xxhash", "xxhash_cbor"),
                "sha256", {},
                "How blocks of tokens are named in the prefix cache: SHA-256 of their bytes, or of canonical "
                "CBOR, which "
                "other programs can compute as well.",
                value_states=by_value(refused("two different prefixes could share a name; give sha256 or "
                                              "sha256_cbor"),
                                      "xxhash", "xxhash_cbor")),
    ROWS.option("kv-cache-dtype", kinds.choice("auto", "bfloat16", "float16", "float32", "fp8", "fp8_ds_mla",
                "fp8_e4m3", "fp8_e5m2", "fp8_inc", "fp8_per_token_head", "int8_per_token_head"), "auto", {},
                "What the KV cache holds keys and values in. auto: as the network computes. fp8 is fp8_e4m3; that "
                "and fp8_e5m2 are written as they are, beyond their largest number (448, 57344) is that number. "
                "fp8_per_token_head and int8_per_token_head hold a scale for each head of each token.",
                value_states=by_value(refused("it is the layout of latent attention (MLA), which no family here has; "
                                              "give fp8"), "fp8_ds_mla")
                | by_value(refused("it is for another company's accelerators; give fp8"), "fp8_inc")),
    ROWS.option("calculate-kv-scales", kinds.switch(), False,
                gone_idle("--kv-cache-dtype fp8_per_token_head computes a scale for each head of each token"),
                "Compute FP8 KV scales on the fly (deprecated)."),
    ROWS.option("kv-cache-dtype-skip-layers", kinds.text(), [], {},
                "Numbers of layers, from 0, whose keys and values stay as the network computes whatever "
                "--kv-cache-dtype says.", many=True),
    ROWS.option("kv-sharing-fast-prefill", kinds.switch(), False,
                idle("no family Quire knows shares KV between layers"), "Prefill shortcut for KV-sharing models."),
    ROWS.option("mamba-cache-dtype", kinds.choice("auto", "float16", "float32"), "auto", MAMBA,
                "Dtype of Mamba states."),
    ROWS.option("mamba-ssm-cache-dtype", kinds.choice("auto", "float16", "float32"), "auto", MAMBA,
                "Dtype of the SSM state only."),
    ROWS.option("mamba-block-size", kinds.integer(8), None, MAMBA, "Mamba cache block in tokens (multiple of 8)."),
    ROWS.option("mamba-cache-mode", kinds.choice("align", "all", "none"), "none", MAMBA,
                "Which Mamba states prefix caching keeps."),
    ROWS.option("enable-mamba-cache-stochastic-rounding", kinds.switch(), False, MAMBA,
                "Stochastic rounding when storing fp16 SSM states."),
    ROWS.option("mamba-cache-philox-rounds", kinds.integer(0), 0, MAMBA, "Philox rounds of that rounding."),
    ROWS.option("kv-offloading-size", kinds.number(0.0), None, awaits("tiers below the KV cache"),
                "CPU buffer for KV offloading, summed over TP ranks."),
    ROWS.option("kv-offloading-backend", kinds.choice("lmcache", "native"), "native",
                awaits("tiers below the KV cache"), "KV offloading implementation."),
)
# fmt: on
