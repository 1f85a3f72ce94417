"""Settings of weights kept outside the device."""

from quire.base.config import kinds
from quire.base.config.rows import Rows
from quire.base.config.states import IN_MAIN_MEMORY

ROWS = Rows("OffloadConfig")

# fmt: off
SETTINGS = (
    ROWS.option("offload-backend", kinds.choice("auto", "prefetch", "uva"), "auto", IN_MAIN_MEMORY,
                "Weight offload mechanism."),
    ROWS.option("cpu-offload-gb", kinds.number(0.0), 0.0, IN_MAIN_MEMORY, "Weights kept in host memory per GPU."),
    ROWS.option("cpu-offload-params", kinds.text(), [], IN_MAIN_MEMORY,
                "Parameter name segments to offload.", many=True),
    ROWS.option("offload-group-size", kinds.integer(0), 0, IN_MAIN_MEMORY, "Layers per offload group (0 = off)."),
    ROWS.option("offload-num-in-group", kinds.integer(0), 1, IN_MAIN_MEMORY, "Offloaded layers per group."),
    ROWS.option("offload-prefetch-step", kinds.integer(0), 1, IN_MAIN_MEMORY, "Layers fetched ahead."),
    ROWS.option("offload-params", kinds.text(), [], IN_MAIN_MEMORY,
                "Parameter segments for prefetch offload.", many=True),
)
# fmt: on
