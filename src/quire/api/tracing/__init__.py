"""Spans of requests for an OpenTelemetry collector. The libraries are an extra, imported when they are asked for."""

from quire.api.tracing.context import TraceContext
from quire.api.tracing.exporter import verify_exporter
from quire.api.tracing.tracer import RequestTrace, Tracer

__all__ = ["RequestTrace", "TraceContext", "Tracer", "verify_exporter"]
