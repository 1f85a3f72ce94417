"""EventStream: one request's news, handed from the socket reader to whoever awaits it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from quire.base.errors import QuireError
from quire.base.messages import TokenEvent

MAX_WAITING_EVENTS = 256  # a reader that leaves more than this pauses its request


class EventStream(AsyncIterator[list[TokenEvent]]):
    """Yields all events that wait, oldest first; ends when each of `num_samples` streams has ended.

    A slow reader finds its events merged into one list; none is lost. When too many wait, the request should be
    paused (`take_pause`); `resume` is called once they are read. Raises what `fail` was given.
    """

    def __init__(self, num_samples: int, resume: Callable[[], None] | None = None) -> None:
        self._waiting: list[TokenEvent] = []
        self._num_open = num_samples
        self._failure: QuireError | None = None
        self._resume = resume
        self.is_paused = False
        self._wakeup: asyncio.Future[None] | None = None

    @property
    def is_finished(self) -> bool:
        """Every sample's terminal event has arrived (it may not have been read yet)."""
        return self._num_open <= 0 or self._failure is not None

    def take_pause(self) -> bool:
        """Whether the request should be paused now: true once, until its reader has caught up."""
        if self.is_paused or len(self._waiting) <= MAX_WAITING_EVENTS or self._num_open <= 0:
            return False
        self.is_paused = True
        return True

    def put(self, event: TokenEvent) -> None:
        self._waiting.append(event)
        if event.finish_reason is not None:
            self._num_open -= 1
        self._wake()

    def fail(self, error: QuireError) -> None:
        self._failure = error
        self._wake()

    def _wake(self) -> None:
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)

    async def __anext__(self) -> list[TokenEvent]:
        while not self._waiting:
            if self._failure is not None:
                raise self._failure
            if self._num_open <= 0:
                raise StopAsyncIteration
            self._wakeup = asyncio.get_running_loop().create_future()
            await self._wakeup
        events, self._waiting = self._waiting, []
        if self.is_paused:
            self.is_paused = False
            if self._resume is not None:
                self._resume()
        return events
