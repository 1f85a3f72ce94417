"""Control: carries out what the engine is told between two steps, and says whether it may compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from quire.base.commands import (
    PARTS,
    SLEEP_IS_OFF,
    CallWorker,
    Command,
    FreeKV,
    Hold,
    Part,
    Release,
    ResetPrefixes,
    Sleep,
    StartProfile,
    StopProfile,
    WakeUp,
)
from quire.base.errors import InvalidValue
from quire.engine.scheduler import Scheduler

T = TypeVar("T")


class Staff(Protocol):
    """Carries out a command that concerns whoever computes; raises before it changes anything."""

    def answer(self, command: Command[T]) -> T: ...


class Control:
    """One row per command. A method raises before it changes anything.

    `is_held` and a part of memory that is missing are two reasons to compute nothing; either is enough.
    """

    def __init__(self, scheduler: Scheduler, staff: Staff, *, may_sleep: bool) -> None:
        self._scheduler = scheduler
        self._staff = staff
        self._may_sleep = may_sleep
        self._is_held = False
        self._missing: set[Part] = set()
        self._rows: dict[type[Command[Any]], Callable[[Any], Any]] = {
            Hold: lambda _: self._hold(True),
            Release: lambda _: self._hold(False),
            ResetPrefixes: self._reset_prefixes,
            FreeKV: self._free_kv,
            Sleep: self._sleep,
            WakeUp: self._wake_up,
            CallWorker: staff.answer,
            StartProfile: staff.answer,
            StopProfile: staff.answer,
        }

    @property
    def may_compute(self) -> bool:
        return not (self._is_held or self._missing)

    def answer(self, command: Command[T]) -> T:
        answer: T = self._rows[type(command)](command)
        return answer

    def _hold(self, is_held: bool) -> None:
        self._is_held = is_held

    def _reset_prefixes(self, command: ResetPrefixes) -> bool:
        if command.with_running:
            self._scheduler.unseat_all()
        self._scheduler.kv.forget_prefixes()
        return True

    def _free_kv(self, command: FreeKV) -> None:
        self._reset_prefixes(ResetPrefixes(with_running=True))
        self._staff.answer(command)

    def _sleep(self, command: Sleep) -> None:
        if not self._may_sleep:
            raise InvalidValue(SLEEP_IS_OFF, field="enable_sleep_mode")
        self._reset_prefixes(ResetPrefixes(with_running=True))
        self._staff.answer(command)
        self._missing.update(PARTS)

    def _wake_up(self, command: WakeUp) -> None:
        parts = self._missing.intersection(command.parts)
        if "weights" in parts:
            self._staff.answer(command)
        self._missing -= parts
