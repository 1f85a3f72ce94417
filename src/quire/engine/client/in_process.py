"""InProcessClient: the engine inside the caller's process, stepped by the caller. `LLM` uses it."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TypeVar

from quire.base.commands import Command
from quire.base.config import EngineConfig
from quire.base.messages import EngineRequest, EngineStats, TokenEvent
from quire.engine.client.threads import let_threads_sleep

T = TypeVar("T")


class InProcessClient:
    """Same requests, same events as ProcessClient, without a process or a loop. Importing torch happens here."""

    def __init__(
        self,
        config: EngineConfig,
        report: Callable[[int, int], None] | None = None,
        *,
        audit_steps: bool = False,
    ) -> None:
        let_threads_sleep()
        from quire.engine.core import EngineCore
        from quire.engine.publisher import open_publisher
        from quire.worker.executor import UniprocExecutor

        publisher = open_publisher(config.watch.kv_events)
        if publisher is not None:
            weakref.finalize(self, publisher.close)
        executor = UniprocExecutor(config, report)
        self.extra_arguments = executor.extra_arguments
        self._core = EngineCore(config, executor, publisher=publisher, audit_steps=audit_steps)

    def submit(self, request: EngineRequest) -> None:
        self._core.submit(request)

    def abort(self, request_id: str, index: int | None = None) -> None:
        self._core.abort(request_id, index)

    def ask(self, command: Command[T]) -> T:
        """The answer, at once. Raises what the command cannot be carried out for."""
        return self._core.answer(command)

    @property
    def has_work(self) -> bool:
        return self._core.has_work

    @property
    def stats(self) -> EngineStats:
        return self._core.stats()

    def step(self) -> list[TokenEvent]:
        """Compute one step; returns its news."""
        return self._core.step()
