"""WaitingRoom: requests whose grammar is still being compiled. The scheduler hears of them when it is."""

from __future__ import annotations

import logging
from concurrent.futures import Future, wait
from typing import Any, Protocol

from quire.base.constraints import Constraint
from quire.base.messages import EngineRequest
from quire.engine.scheduler import Scheduler

logger = logging.getLogger(__name__)
PATIENCE_S = 0.005  # at most this long nothing is heard from outside while there is nothing to compute


class Compiler(Protocol):
    def prepare(self, constraint: Constraint) -> Future[Any]:
        """Begins to compile; done when sequences with this constraint may start."""
        ...


class WaitingRoom:
    def __init__(self, compiler: Compiler, scheduler: Scheduler) -> None:
        self._compiler = compiler
        self._scheduler = scheduler
        self._waiting: dict[str, tuple[EngineRequest, Future[Any]]] = {}
        self._aborted: list[tuple[str, int | None]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, request: EngineRequest) -> None:
        assert request.constraint is not None
        self._waiting[request.request_id] = (request, self._compiler.prepare(request.constraint))

    def abort(self, request_id: str, index: int | None) -> bool:
        """Whether the request is here: it, or the sample, then ends as soon as it is let in."""
        if request_id not in self._waiting:
            return False
        self._aborted.append((request_id, index))
        return True

    def let_in(self, *, wait_for_one: bool) -> None:
        """Queue the requests that are ready, the oldest first; with `wait_for_one`, wait a moment for one."""
        if wait_for_one and self._waiting:
            wait([next(iter(self._waiting.values()))[1]], PATIENCE_S)
        for request_id, (request, ready) in list(self._waiting.items()):
            if not ready.done():
                continue
            del self._waiting[request_id]
            if error := ready.exception():
                logger.error("a grammar that had been checked could not be compiled: %s", error)
                self._scheduler.reject(request, f"its grammar could not be compiled ({error})")
            else:
                self._scheduler.add(request)
        for aborted_id, index in self._aborted:
            if aborted_id not in self._waiting:
                self._scheduler.abort(aborted_id, index)
        self._aborted = [one for one in self._aborted if one[0] in self._waiting]
