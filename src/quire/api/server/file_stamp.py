"""FileStamp: have files changed since they were last read? Looked at no oftener than once in a second."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

LOOK_INTERVAL_S = 1.0


class FileStamp:
    """Of files that somebody replaces while the server runs: time, size and place of each. A file that is gone has a
    stamp of its own."""

    def __init__(self, paths: Sequence[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._paths = list(paths)
        self._clock = clock
        self._looked_s = clock()
        self._stamp = self._read()

    def has_changed(self) -> bool:
        """Since the last call that said so, or since the beginning."""
        now_s = self._clock()
        if now_s - self._looked_s < LOOK_INTERVAL_S:
            return False
        self._looked_s = now_s
        before, self._stamp = self._stamp, self._read()
        return self._stamp != before

    def _read(self) -> list[tuple[int, int, int]]:
        stamps = []
        for path in self._paths:
            try:
                facts = os.stat(path)  # of what a link points to: mounted secrets are links that are swapped
                stamps.append((facts.st_mtime_ns, facts.st_size, facts.st_ino))
            except OSError:
                stamps.append((0, 0, 0))
        return stamps
