"""A real engine inside the event loop's process, stepped in a thread: what Service needs of ProcessClient."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable

from quire.base.config import EngineConfig
from quire.base.messages import EngineRequest, EngineStats
from quire.engine.client import EngineState, EventStream, InProcessClient, Standing


class SteppedEngine:
    """Steps while anything is under way. Its books are audited after every step."""

    def __init__(self, config: EngineConfig) -> None:
        self.state = EngineState.READY
        self.failure = ""
        self.load_done_bytes, self.load_total_bytes = 0, 0
        self.num_unheard_tokens = 0
        self.step_sizes: Counter[int] = Counter()
        self.standing = Standing()
        self.listeners: list[Callable[[EngineStats], None]] = []
        self.requests: list[EngineRequest] = []
        self._engine = InProcessClient(config, audit_steps=True)
        self._streams: dict[str, EventStream] = {}
        self._stepper: asyncio.Task[None] | None = None

    @property
    def stats(self) -> EngineStats:
        return self._engine.stats

    def check(self, request: EngineRequest) -> None:
        return

    def submit(self, request: EngineRequest) -> EventStream:
        self.requests.append(request)
        self._engine.submit(request)
        stream = self._streams[request.request_id] = EventStream(request.sampling.n)
        if self._stepper is None or self._stepper.done():
            self._stepper = asyncio.create_task(self._step())
        return stream

    def abort(self, request_id: str, index: int | None = None) -> None:
        if self._streams.pop(request_id, None) is not None:
            self._engine.abort(request_id, index)

    async def _step(self) -> None:
        while self._engine.has_work:
            await asyncio.sleep(0)  # let others submit, so that requests share steps
            for event in self._engine.step():
                with contextlib.suppress(KeyError):
                    self._streams[event.request_id].put(event)
