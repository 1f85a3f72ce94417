"""Settings of the KV cache: its blocks and its share of memory."""

from quire.base.config import kinds
from quire.base.config.setting import Setting

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
