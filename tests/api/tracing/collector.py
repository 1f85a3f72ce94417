"""An OpenTelemetry collector on loopback: takes spans over HTTP or gRPC, as protobuf, and keeps them."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

LIMIT_S = 15.0


@dataclass
class Received:
    """A span as it came over the wire; ids are lower-case hexadecimal."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    trace_state: str
    attributes: dict[str, Any]
    seconds: float
    is_error: bool
    linked_ids: list[str]
    service: str


class Collector:
    """`wait` returns the spans of a name once there are enough."""

    def __init__(self) -> None:
        self.endpoint = ""
        self.paths: list[str] = []
        self._spans: list[Received] = []
        self._news = threading.Condition()

    def take(self, body: bytes) -> None:
        with self._news:
            self._spans += _spans(ExportTraceServiceRequest.FromString(body))
            self._news.notify_all()

    def wait(self, name: str, count: int = 1) -> list[Received]:
        with self._news:
            enough = self._news.wait_for(lambda: len(self.named(name)) >= count, LIMIT_S)
        assert enough, f"{len(self.named(name))} spans {name} came, {count} were expected"
        return self.named(name)

    def named(self, name: str) -> list[Received]:
        return [span for span in self._spans if span.name == name]


def _spans(request: ExportTraceServiceRequest) -> list[Received]:
    return [
        Received(
            name=span.name,
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex(),
            trace_state=span.trace_state,
            attributes={item.key: _value(item.value) for item in span.attributes},
            seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
            is_error=span.status.code == 2,
            linked_ids=[link.span_id.hex() for link in span.links],
            service=next(
                item.value.string_value for item in group.resource.attributes if item.key == "service.name"
            ),
        )
        for group in request.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return (
        [_value(item) for item in value.array_value.values] if kind == "array_value" else getattr(value, kind)
    )


@contextmanager
def http_collector() -> Iterator[Collector]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            collector.paths.append(self.path)
            collector.take(gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body)
            reply = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def grpc_collector() -> Iterator[Collector]:
    from concurrent.futures import ThreadPoolExecutor

    import grpc

    collector = Collector()

    def export(body: bytes, _context: Any) -> bytes:
        collector.take(body)
        return ExportTraceServiceResponse().SerializeToString()

    service = grpc.method_handlers_generic_handler(
        "opentelemetry.proto.collector.trace.v1.TraceService",
        {"Export": grpc.unary_unary_rpc_method_handler(export)},
    )
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((service,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    collector.endpoint = f"http://127.0.0.1:{port}"
    try:
        yield collector
    finally:
        server.stop(0).wait()
