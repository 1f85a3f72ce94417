"""What `/metrics` tells: vLLM's names, labels and buckets, kept as plain numbers until someone asks."""

from quire.api.server.metrics.meter import RequestMeter
from quire.api.server.metrics.pooling_meter import PoolingMeter
from quire.api.server.metrics.server_metrics import ServerMetrics

__all__ = ["PoolingMeter", "RequestMeter", "ServerMetrics"]
