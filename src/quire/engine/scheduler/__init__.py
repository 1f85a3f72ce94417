"""Who runs next: queues, the plan of a step, and what its result means."""

from quire.engine.scheduler.scheduler import Scheduler

__all__ = ["Scheduler"]
