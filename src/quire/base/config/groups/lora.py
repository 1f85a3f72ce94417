"""Settings of LoRA adapters."""

from quire.base.config import kinds
from quire.base.config.rows import Rows
from quire.base.config.states import LORA

ROWS = Rows("LoRAConfig")

# fmt: off
SETTINGS = (
    ROWS.option("enable-lora", kinds.switch(), None, LORA, "LoRA support."),
    ROWS.option("max-loras", kinds.integer(1), 1, LORA, "Adapters in one batch."),
    ROWS.option("max-lora-rank", kinds.number_choice(1, 8, 16, 32, 64, 128, 256, 320, 512), 16, LORA,
                "Largest adapter rank."),
    ROWS.option("lora-dtype", kinds.choice("auto", "float16", "bfloat16"), "auto", LORA, "Adapter dtype."),
    ROWS.option("enable-tower-connector-lora", kinds.switch(), False, LORA,
                "LoRA on vision tower and connector (experimental)."),
    ROWS.option("max-cpu-loras", kinds.integer(1), None, LORA, "Adapters kept in host memory."),
    ROWS.option("fully-sharded-loras", kinds.switch(), False, LORA, "Shard all LoRA matmuls over TP."),
    ROWS.option("lora-target-modules", kinds.text(), None, LORA, "Restrict LoRA to module suffixes.", many=True),
    ROWS.option("default-mm-loras", kinds.json_object(), None, LORA, "Adapter per modality, applied automatically."),
    ROWS.option("specialize-active-lora", kinds.switch(), False, LORA, "Graph per number of active adapters."),
)
# fmt: on
