"""Admission: how many requests may wait. Beyond that a request is refused in milliseconds, with when to come back.

A queue does not make an engine faster: past what can start soon, it only makes everybody late. It is there for
bursts, and the limits are those of a burst. A load that lasts fills it whatever its length, so the limits sink while
many have to be refused: those that are taken wait less, and no fewer are taken, for no seat stays empty.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable

from quire.base.config import EngineConfig, ServerConfig
from quire.base.errors import Overloaded

QUEUE_PER_SEAT = 8  # automatic limit: requests waiting for each that can run
MAX_WAIT_S = 30.0  # and not more than can start in this time, once the speed is known
NUM_RECENT_ENDS = 128
MIN_ENDS = 16  # fewer tell no speed
MAX_RETRY_S = 60
LASTING_SHARE = 0.25  # of the limits, under a load that lasts
# places, with each refusal and each end: more than 1.5 times as many come as can end
SINKS_BY = 0.25
RISES_BY = 0.125


class Admission:
    """Limits are counted over requests whose reply is not complete; the engine runs `max_num_seqs` of them at once.

    A configured limit of 0 is none; None is automatic. `speed` is measured while all seats are taken.
    `share` is what holds of the limits now.
    """

    def __init__(
        self, engine: EngineConfig, server: ServerConfig, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._num_seats = engine.scheduler.max_num_seqs
        held_tokens = engine.cache.num_blocks * engine.cache.block_size
        # an encoder has no KV cache: as much as its seats take
        self._kv_tokens = held_tokens or self._num_seats * engine.max_model_len
        self._max_requests = server.max_num_queued_reqs
        self._max_tokens = server.max_num_queued_tokens
        self._status = int(server.overload_status)
        self._clock = clock
        self._last_end_s: float | None = None
        self._gaps_s: deque[float] = deque(maxlen=NUM_RECENT_ENDS)
        self._sunk = 0.0  # places that the limit of requests has come down

    @property
    def speed(self) -> float:
        """Requests that end in a second when the engine is full; 0.0 while unknown."""
        total_s = sum(self._gaps_s)
        return len(self._gaps_s) / total_s if len(self._gaps_s) >= MIN_ENDS and total_s else 0.0

    @property
    def max_requests(self) -> float:
        """Most requests that may wait now."""
        if self._max_requests is not None:
            return self._max_requests or math.inf
        most = QUEUE_PER_SEAT * self._num_seats
        return max(self._num_seats, min(most, self.speed * MAX_WAIT_S)) if self.speed else most

    @property
    def max_tokens(self) -> float:
        """Most prompt tokens that may wait: automatically as many as the KV cache holds."""
        if self._max_tokens is not None:
            return self._max_tokens or math.inf
        return self._kv_tokens

    @property
    def share(self) -> float:
        """Of the limits, what holds now: 1.0 but under a load that lasts."""
        return max(LASTING_SHARE, 1.0 - self._sunk / self._most_places)

    @property
    def _most_places(self) -> float:
        return min(self.max_requests, QUEUE_PER_SEAT * self._num_seats)

    def check(self, num_under_way: int, num_queued_tokens: int, num_new_tokens: int) -> None:
        """Raises Overloaded when one more request must not wait. With nothing in the queue any request may."""
        if not num_under_way:
            self._sunk = 0.0
        num_queued = max(0, num_under_way - self._num_seats)
        if num_queued >= self.share * self.max_requests:
            self._refuse(num_queued, f"{num_queued} requests are waiting (--max-num-queued-reqs)")
        num_tokens = num_queued_tokens + num_new_tokens
        if num_queued_tokens and num_tokens > self.share * self.max_tokens:
            self._refuse(num_queued, f"{num_tokens} prompt tokens would wait (--max-num-queued-tokens)")

    def note_end(self, num_under_way: int) -> None:
        """A request left; `num_under_way` were there with it."""
        self._sunk = max(0.0, self._sunk - RISES_BY)
        now_s = self._clock()
        if num_under_way < self._num_seats:
            self._last_end_s = None
            return
        if self._last_end_s is not None:
            self._gaps_s.append(now_s - self._last_end_s)
        self._last_end_s = now_s

    def _refuse(self, num_queued: int, why: str) -> None:
        wait_s = num_queued / self.speed if self.speed else 1.0
        if self.share < 1.0:
            why += f", which under a load that lasts is {self.share:.0%} of the limit"
        error = Overloaded(
            f"The server is at its limit: {why}. Try again later.",
            retry_after_s=max(1, min(MAX_RETRY_S, math.ceil(wait_s))),
        )
        error.status = self._status
        self._sunk = min(self._sunk + SINKS_BY, (1.0 - LASTING_SHARE) * self._most_places)
        raise error
