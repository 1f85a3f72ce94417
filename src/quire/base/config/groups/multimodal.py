"""Settings of multimodal models."""

from quire.base.config import kinds
from quire.base.config.rows import Rows
from quire.base.config.states import MULTIMODAL, idle

ROWS = Rows("MultiModalConfig")

# fmt: off
SETTINGS = (
    ROWS.option("language-model-only", kinds.switch(), False, idle("Quire takes text only as it is"),
                "Ignore all multimodal inputs."),
    ROWS.option("limit-mm-per-prompt", kinds.json_object(), {}, MULTIMODAL,
                "Items per modality, with optional size hints."),
    ROWS.option("enable-mm-embeds", kinds.switch(), False, MULTIMODAL, "Accept precomputed multimodal embeddings."),
    ROWS.option("media-io-kwargs", kinds.json_object(), {}, MULTIMODAL, "Decoding options per modality."),
    ROWS.option("mm-processor-kwargs", kinds.json_object(), None, MULTIMODAL, "Options passed to the HF processor."),
    ROWS.option("mm-processor-cache-gb",
                kinds.number(0.0),
                4.0, MULTIMODAL,
                "Processor cache size (0 = off); copied per API and engine process.",
                environment=("VLLM_MM_INPUT_CACHE_GIB",), harmless=(8.0,)),
    ROWS.option("mm-processor-cache-type", kinds.choice("lru", "shm"), "lru", MULTIMODAL, "Cache mechanism."),
    ROWS.option("mm-shm-cache-max-object-size-mb", kinds.integer(1), 128, MULTIMODAL,
                "Object limit of the shm cache."),
    ROWS.option("mm-encoder-only", kinds.switch(), False, MULTIMODAL,
                "Load only the encoder (disaggregated encode)."),
    ROWS.option("mm-encoder-tp-mode", kinds.choice("data", "weights"), "weights", MULTIMODAL,
                "Tensor-parallel mode of the encoder."),
    ROWS.option("mm-encoder-attn-backend", kinds.text(), None, MULTIMODAL, "Encoder attention backend."),
    ROWS.option("interleave-mm-strings", kinds.switch(), False, MULTIMODAL,
                "Keep text and media order with string content format."),
    ROWS.option("skip-mm-profiling", kinds.switch(), False, MULTIMODAL, "Do not profile multimodal memory."),
    ROWS.option("video-pruning-rate", kinds.number(0.0, 1.0), None, MULTIMODAL, "Share of video tokens dropped."),
    ROWS.option("mm-tensor-ipc", kinds.choice("direct_rpc", "torch_shm"), "direct_rpc", MULTIMODAL,
                "How media tensors reach the engine."),
)
# fmt: on
