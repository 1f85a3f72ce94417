"""EngineCore: receive → plan → execute → apply → emit, one step at a time. Knows no sockets and no tensors."""

from __future__ import annotations

import logging
from typing import Protocol

from quire.base.config import EngineConfig
from quire.base.messages import EngineRequest, EngineStats, StepPlan, StepResult, TokenEvent
from quire.engine.scheduler import Scheduler

logger = logging.getLogger(__name__)


class Executor(Protocol):
    """Runs plans. One plan in, one result out, in order."""

    def execute(self, plan: StepPlan) -> StepResult: ...


class EngineCore:
    """Drives one executor. `audit_steps` checks every book after every step; tests turn it on."""

    def __init__(self, config: EngineConfig, executor: Executor, *, audit_steps: bool = False) -> None:
        self.scheduler = Scheduler(config.scheduler, config.cache)
        self._executor = executor
        self._audit_steps = audit_steps

    def submit(self, request: EngineRequest) -> None:
        self.scheduler.add(request)

    def abort(self, request_id: str, index: int | None = None) -> None:
        self.scheduler.abort(request_id, index)

    def forget_prefixes(self) -> None:
        self.scheduler.kv.forget_prefixes()

    @property
    def has_work(self) -> bool:
        return self.scheduler.has_work

    def stats(self) -> EngineStats:
        return self.scheduler.stats()

    def step(self) -> list[TokenEvent]:
        """Run one step, if there is anything to run; returns the news since the last call."""
        plan = self.scheduler.plan()
        if not plan.chunks and not plan.ended:
            return self.scheduler.take_events()
        try:
            result = self._executor.execute(plan)
        except Exception as error:  # whatever a step raises ends its requests, not the engine
            logger.exception(
                "step %d failed; its %d sequences end with an error", plan.step_id, len(plan.chunks)
            )
            self.scheduler.fail(
                [chunk.sequence_id for chunk in plan.chunks],
                f"the engine could not compute this step ({type(error).__name__})",
            )
            events = self.scheduler.take_events()
        else:
            events = self.scheduler.apply(plan, result)
        if self._audit_steps:
            self.scheduler.audit()
        return events
