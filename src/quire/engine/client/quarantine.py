"""Which request ends the engine: suspects are tried one after the other, the culprit's likes are refused for a while.

A request that crashes an engine does so again when another engine takes it up: within a few steps of where it was. So
after a crash its requests are given to the next engine one at a time, each until it has said a little more; whoever
is on trial when that engine dies has been there both times, and the others have not. Then all go on together.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterable

import msgspec

from quire.base.errors import Quarantined
from quire.base.messages import EngineRequest

QUARANTINE_S = 600.0
MAX_REFUSED = 1000  # the oldest go first
ENOUGH_EVENTS = (
    5  # a crash may swallow an engine's last words: what is known lags behind the fatal step a little
)


class Trial:
    """The order in which suspects are given to the engine, each alone, after a crash."""

    def __init__(self) -> None:
        self.accused: str | None = None
        self._num_events = 0
        self._waiting: deque[str] = deque()

    @property
    def is_open(self) -> bool:
        """Whether anybody is on trial, or will be once the engine is ready."""
        return self.accused is not None or bool(self._waiting)

    def open(self, request_ids: Iterable[str]) -> None:
        """Suspects are tried in this order."""
        self.accused = None
        self._waiting = deque(request_ids)

    def call_next(self) -> str | None:
        """The next one on trial; None when there is none left."""
        self._num_events = 0
        self.accused = self._waiting.popleft() if self._waiting else None
        return self.accused

    def hear(self, num_events: int) -> bool:
        """The accused said something; returns whether that is enough."""
        self._num_events += num_events
        return self._num_events >= ENOUGH_EVENTS


class Quarantine:
    """Fingerprints of requests that ended engines, each refused for QUARANTINE_S seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until_s: dict[bytes, float] = {}

    def __len__(self) -> int:
        return len(self._until_s)

    def add(self, request: EngineRequest) -> Quarantined:
        """Refuse this request's likes from now on; returns what it ends with itself."""
        self._until_s[_fingerprint(request)] = self._clock() + QUARANTINE_S
        while len(self._until_s) > MAX_REFUSED:
            del self._until_s[next(iter(self._until_s))]
        return _refusal()

    def check(self, request: EngineRequest) -> None:
        """Raises Quarantined."""
        if not self._until_s:
            return
        now_s = self._clock()
        self._until_s = {print_: until_s for print_, until_s in self._until_s.items() if until_s > now_s}
        if self._until_s and _fingerprint(request) in self._until_s:
            raise _refusal()


def _refusal() -> Quarantined:
    return Quarantined(
        "This request was under way both times when the engine process ended, and it was alone the second time. "
        f"It is refused for {QUARANTINE_S / 60:.0f} minutes; change the request, and tell whoever runs this server."
    )


def _fingerprint(request: EngineRequest) -> bytes:
    """Of everything that decides what is computed. Without ids and the seed, which a client's retry has anew."""
    sampling = msgspec.structs.replace(request.sampling, seed=None)
    same = msgspec.structs.replace(
        request, request_id="", sampling=sampling, seed=0, arrival_s=0.0, emitted=[], ended_samples=[]
    )
    return hashlib.sha256(msgspec.msgpack.encode(same)).digest()
