"""Settings of metrics, traces and what is logged of steps."""

from quire.base.config import kinds
from quire.base.config.rows import Rows
from quire.base.config.states import NO_GPU, idle

ROWS = Rows("ObservabilityConfig")

# fmt: off
SETTINGS = (
    ROWS.option("show-hidden-metrics-for-version", kinds.text(), None, idle("Quire hides no metrics"),
                "Bring back metrics hidden since that version."),
    ROWS.option("otlp-traces-endpoint", kinds.text(), None, {},
                "OpenTelemetry collector that gets a span for each request, such as http://127.0.0.1:4317. Needs "
                "quire[otlp].", is_for_server=True),
    ROWS.option("collect-detailed-traces", kinds.text(), [], {},
                "More spans: model (the forward pass of each step), worker (each whole step), all (both).", many=True,
                is_for_server=True),
    ROWS.variable("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", kinds.choice("grpc", "http/protobuf"), "grpc", {},
                  "How traces reach the collector. The other OTEL_EXPORTER_OTLP_* variables are read by the "
                  "OpenTelemetry library.", is_for_server=True, name="exporter-otlp-traces-protocol"),
    ROWS.option("kv-cache-metrics", kinds.switch(), False, {},
                "Histograms of how long KV blocks stay in the prefix cache, lie idle there, and are reused."),
    ROWS.option("kv-cache-metrics-sample", kinds.number(0.0, 1.0, low_is_allowed=False), 0.01, {},
                "Share of the blocks that those histograms watch."),
    ROWS.option("custom-histogram-buckets", kinds.json_object(), {}, {},
                "Upper edges of histograms by family, such as {\"time_to_first_token\": [0.1, 1]}; families are "
                "request_latency, time_to_first_token, inter_token_latency, iteration_tokens, request_params_n, "
                "request_num_preemptions, request_tokens, kv_cache_residency.", is_for_server=True),
    ROWS.option("cudagraph-metrics", kinds.switch(), False, NO_GPU, "CUDA graph usage statistics."),
    ROWS.option("enable-layerwise-nvtx-tracing", kinds.switch(), False, NO_GPU, "NVTX range per layer."),
    ROWS.option("enable-mfu-metrics", kinds.switch(), False, {},
                "Counters of the floating-point operations and memory traffic that steps are estimated to take."),
)
# fmt: on
