"""Settings of metrics, traces and what is logged of steps."""

from quire.base.config import kinds
from quire.base.config.rows import Rows
from quire.base.config.states import NO_GPU, TRACING, awaits, idle

ROWS = Rows("ObservabilityConfig")

# fmt: off
SETTINGS = (
    ROWS.option("show-hidden-metrics-for-version", kinds.text(), None, idle("Quire hides no metrics"),
                "Bring back metrics hidden since that version."),
    ROWS.option("otlp-traces-endpoint", kinds.text(), None, TRACING, "OpenTelemetry collector URL."),
    ROWS.option("collect-detailed-traces", kinds.text(), None, TRACING, "Extra spans.", many=True),
    ROWS.option("kv-cache-metrics", kinds.switch(), False, awaits("histograms of KV block residency"),
                "KV block residency histograms."),
    ROWS.option("kv-cache-metrics-sample", kinds.number(0.0, 1.0, low_is_allowed=False), 0.01,
                awaits("histograms of KV block residency"), "Sampling share of those."),
    ROWS.option("cudagraph-metrics", kinds.switch(), False, NO_GPU, "CUDA graph usage statistics."),
    ROWS.option("enable-layerwise-nvtx-tracing", kinds.switch(), False, NO_GPU, "NVTX range per layer."),
    ROWS.option("enable-mfu-metrics", kinds.switch(), False, awaits("count of floating-point work"),
                "Model FLOPs utilization metrics."),
)
# fmt: on
