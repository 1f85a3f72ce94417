"""How the text wing reaches an engine: across a process boundary, or in this process; and who administers it."""

from quire.engine.client.administrator import Administrator
from quire.engine.client.in_process import InProcessClient
from quire.engine.client.process import ASLEEP, EngineState, ProcessClient
from quire.engine.client.standing import Level, Mode, Standing
from quire.engine.client.stream import EventStream

__all__ = [
    "ASLEEP",
    "Administrator",
    "EngineState",
    "EventStream",
    "InProcessClient",
    "Level",
    "Mode",
    "ProcessClient",
    "Standing",
]
