"""How the text wing reaches an engine: across a process boundary, or in this process."""

from quire.engine.client.in_process import InProcessClient
from quire.engine.client.process import EngineState, ProcessClient
from quire.engine.client.stream import EventStream

__all__ = ["EngineState", "EventStream", "InProcessClient", "ProcessClient"]
