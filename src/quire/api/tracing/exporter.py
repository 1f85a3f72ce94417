"""The way out: spans are batched and sent by a thread of the OpenTelemetry library; a full queue drops spans."""

from __future__ import annotations

import importlib.util
import os
import threading
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from quire import __version__
from quire.base.errors import ConfigError
from quire.base.observe import TraceConfig

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

FAREWELL_S = 3.0  # how long a collector gets at the end to take what is left
_MODULES = {
    "grpc": "opentelemetry.exporter.otlp.proto.grpc",
    "http/protobuf": "opentelemetry.exporter.otlp.proto.http",
}
_PACKAGES = {
    "grpc": "opentelemetry-exporter-otlp-proto-grpc",
    "http/protobuf": "opentelemetry-exporter-otlp-proto-http",
}


def verify_exporter(config: TraceConfig) -> None:
    """Raises ConfigError when the library that sends traces is not installed."""
    for module, package in (
        ("opentelemetry.sdk", "opentelemetry-sdk"),
        (_MODULES[config.protocol], _PACKAGES[config.protocol]),
    ):
        if not _is_installed(module):
            raise ConfigError(
                f"--otlp-traces-endpoint by {config.protocol} needs {package}, which is not installed: "
                "pip install 'quire[otlp]', or choose the other OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
                setting="otlp_traces_endpoint",
            )


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # a package above it is missing
        return False


def open_provider(config: TraceConfig) -> TracerProvider:
    """What makes and sends spans. The OTEL_* variables of the library hold: sampling, batches, headers, names."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    names = {"service.version": __version__}
    if "OTEL_SERVICE_NAME" not in os.environ:
        names["service.name"] = "quire"
    provider = TracerProvider(resource=Resource.create(names), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(_exporter(config)))
    return provider


def _exporter(config: TraceConfig) -> SpanExporter:
    if config.protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as ByGrpc

        return ByGrpc(endpoint=config.endpoint, insecure=config.endpoint.startswith("http://"))
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as ByHttp

    has_path = urlsplit(config.endpoint).path.strip("/")
    return ByHttp(endpoint=config.endpoint if has_path else f"{config.endpoint.rstrip('/')}/v1/traces")


def close_provider(provider: TracerProvider) -> None:
    """Send what is left, within FAREWELL_S: a collector that does not answer keeps no server from ending."""
    thread = threading.Thread(target=provider.shutdown, name="last traces", daemon=True)
    thread.start()
    thread.join(FAREWELL_S)
