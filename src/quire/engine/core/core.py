"""EngineCore: receive → plan → execute → apply → emit, one step at a time. Knows no sockets and no tensors."""

from __future__ import annotations

import logging
import time
from typing import TypeVar

from quire.base.commands import Command
from quire.base.config import EngineConfig
from quire.base.dotted import load_dotted
from quire.base.messages import EngineRequest, EngineStats, StepPlan, TokenEvent
from quire.engine.core.attempt import Executor, execute_in_parts
from quire.engine.core.control import Control
from quire.engine.core.waiting_room import WaitingRoom
from quire.engine.core.watching import Publisher, StepWatch
from quire.engine.scheduler import Scheduler

logger = logging.getLogger(__name__)
T = TypeVar("T")


class EngineCore:
    """Drives one executor. `publisher` gets the news of the prefix cache. `audit_steps` checks every book after every
    step; tests turn it on."""

    def __init__(
        self,
        config: EngineConfig,
        executor: Executor,
        *,
        publisher: Publisher | None = None,
        audit_steps: bool = False,
    ) -> None:
        self.scheduler = _scheduler_class(config.scheduler.scheduler_class)(config.scheduler, config.cache)
        self._watch = StepWatch(config.watch, self.scheduler.kv, publisher)
        self._executor = executor
        self._waiting_room = WaitingRoom(executor, self.scheduler)
        self._control = Control(self.scheduler, executor, may_sleep=config.enable_sleep_mode)
        self._logs_steps = config.log_steps
        self._audit_steps = audit_steps

    def submit(self, request: EngineRequest) -> None:
        if request.constraint is None:
            self.scheduler.add(request)
        else:
            self._waiting_room.add(request)

    def abort(self, request_id: str, index: int | None = None) -> None:
        if not self._waiting_room.abort(request_id, index):
            self.scheduler.abort(request_id, index)

    def pause(self, request_id: str) -> None:
        self.scheduler.pause(request_id)

    def resume(self, request_id: str) -> None:
        self.scheduler.resume(request_id)

    def answer(self, command: Command[T]) -> T:
        """Carry out a command, between two steps. Raises what it cannot be carried out for."""
        answer = self._control.answer(command)
        self._watch.publish()
        return answer

    @property
    def has_work(self) -> bool:
        if not self._control.may_compute:  # ends are told, and grammars compiled, all the same
            return self.scheduler.has_news or len(self._waiting_room) > 0
        return self.scheduler.has_work or len(self._waiting_room) > 0

    def stats(self) -> EngineStats:
        return self._watch.add_to(self.scheduler.stats())

    def step(self) -> list[TokenEvent]:
        """Run one step, if there is anything to run; returns the news since the last call."""
        may_compute = self._control.may_compute
        self._waiting_room.let_in(wait_for_one=not (may_compute and self.scheduler.has_work))
        if not may_compute:
            return self.scheduler.take_events()
        plan = self.scheduler.plan()
        if not plan.chunks and not plan.ended:
            return self.scheduler.take_events()
        started_s = time.monotonic()
        result = execute_in_parts(self._executor, plan)
        seconds = time.monotonic() - started_s
        events = self.scheduler.apply(plan, result)
        self._watch.note_step(plan, result, started_s, seconds)
        self._watch.publish()
        if self._logs_steps:
            _log_step(plan, seconds, self.scheduler.stats())
        if self._audit_steps:
            self.scheduler.audit()
        return events


def _scheduler_class(path: str) -> type[Scheduler]:
    """The class that `--scheduler-cls` names: anything with Scheduler's methods."""
    return load_dotted(path, setting="scheduler_cls") if path else Scheduler


def _log_step(plan: StepPlan, seconds: float, stats: EngineStats) -> None:
    logger.info(
        "step %d: %d tokens of %d sequences in %.1f ms; %d running, %d waiting",
        plan.step_id,
        plan.num_tokens,
        len(plan.chunks),
        1000 * seconds,
        stats.num_running,
        stats.num_waiting,
    )
