"""What a person watching sees of work under way, and what is told to other programs that watch."""

from quire.base.observe.progress import Progress, Unit
from quire.base.observe.wanted import KvEventsConfig, TraceConfig, WatchConfig, WorkRates

__all__ = ["KvEventsConfig", "Progress", "TraceConfig", "Unit", "WatchConfig", "WorkRates"]
