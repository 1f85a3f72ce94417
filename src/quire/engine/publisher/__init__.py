"""KV cache events over ZeroMQ, for routers that want to know which prefixes an engine holds."""

from quire.engine.publisher.publisher import EventPublisher, open_publisher

__all__ = ["EventPublisher", "open_publisher"]
