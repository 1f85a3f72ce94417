"""Asks: what an engine was asked and has not answered yet. Each is settled exactly once, whatever becomes of it."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from quire.base.commands import AnyCommand, CallWorker, Command
from quire.base.errors import CommandFailed, InvalidValue, QuireError
from quire.base.wire import Answer, Ask


class Asks:
    """An asker who no longer waits has cancelled its future; the engine's answer is then dropped."""

    def __init__(self) -> None:
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._calls: set[int] = set()  # of methods that are not Quire's
        self._next_id = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def may_stand_still(self) -> bool:
        """Whether somebody waits for a method that is not Quire's: it may sleep as long as they let it."""
        return any(not self._waiting[number].done() for number in self._calls)

    def open(self, command: Command[Any]) -> tuple[Ask, asyncio.Future[Any]]:
        """The message to send, and what will hold the answer's value or raise its problem."""
        self._next_id += 1
        answered = self._waiting[self._next_id] = asyncio.get_running_loop().create_future()
        if isinstance(command, CallWorker):
            self._calls.add(self._next_id)
        return Ask(self._next_id, cast(AnyCommand, command)), answered  # every command is one of them

    def settle(self, answer: Answer) -> None:
        self._calls.discard(answer.ask_id)
        answered = self._waiting.pop(answer.ask_id, None)
        if answered is None or answered.done():
            return
        problem = answer.problem
        if problem is None:
            answered.set_result(answer.value)
        elif problem.is_callers:
            answered.set_exception(InvalidValue(problem.message, field=problem.field))
        else:
            answered.set_exception(CommandFailed(problem.message))

    def fail_all(self, error: QuireError) -> None:
        """The engine that was asked is gone."""
        self._calls.clear()
        waiting, self._waiting = self._waiting, {}
        for answered in waiting.values():
            if not answered.done():
                answered.set_exception(error)
