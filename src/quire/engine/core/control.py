"""Control: carries out what the engine is told between two steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from quire.base.commands import Command, ResetPrefixes
from quire.engine.scheduler import Scheduler

T = TypeVar("T")


class Control:
    """One row per command. A method raises before it changes anything."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._rows: dict[type[Command[Any]], Callable[[Any], Any]] = {ResetPrefixes: self._reset_prefixes}

    def answer(self, command: Command[T]) -> T:
        answer: T = self._rows[type(command)](command)
        return answer

    def _reset_prefixes(self, command: ResetPrefixes) -> bool:
        if command.with_running:
            self._scheduler.unseat_all()
        self._scheduler.kv.forget_prefixes()
        return True
