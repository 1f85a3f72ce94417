"""Residency: how long some of the KV blocks stay in the cache, lie idle there, and are found again."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable

from quire.base.messages import BlockStay

MAX_FINDS = 4  # of each block, the latest; that many finds have one gap less
MAX_WAITING = 4096  # stays nobody has asked for; the oldest are let go


class Residency:
    """Watches a `share` of the blocks, drawn anew whenever one is taken. `clock` counts seconds."""

    def __init__(
        self,
        share: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._share = share
        self._clock = clock
        self._draw = draw
        self._taken_s: dict[int, float] = {}
        self._found_s: dict[int, deque[float]] = {}
        self._stays: deque[BlockStay] = deque(maxlen=MAX_WAITING)

    def note_taken(self, block: int) -> None:
        """The block holds something new from now on: what it held before is gone."""
        taken_s = self._taken_s.pop(block, None)
        is_watched = self._draw() < self._share
        if taken_s is None and not is_watched:
            return
        now_s = self._clock()
        if taken_s is not None:
            found_s = self._found_s.pop(block, ())
            last_s = found_s[-1] if found_s else taken_s
            gaps_s = [after - before for before, after in zip(found_s, list(found_s)[1:], strict=False)]
            self._stays.append(BlockStay(now_s - taken_s, now_s - last_s, gaps_s))
        if is_watched:
            self._taken_s[block] = now_s

    def note_found(self, block: int) -> None:
        """A prompt's prefix was found in the block."""
        if block in self._taken_s:
            self._found_s.setdefault(block, deque(maxlen=MAX_FINDS)).append(self._clock())

    def take_stays(self) -> list[BlockStay]:
        """What has ended since the last call."""
        stays = list(self._stays)
        self._stays.clear()
        return stays
