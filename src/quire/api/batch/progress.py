"""How far a batch is: a redrawn line on a terminal, now and then a plain one elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque
from typing import TextIO

REDRAW_S = 0.2
PLAIN_LINE_S = 10.0
WINDOW_S = 30.0
BAR_CELLS = 24


class BatchProgress:
    """Counts requests of `total`; the rate is that of the last half minute."""

    def __init__(self, total: int, done: int, stream: TextIO | None = None) -> None:
        self._total = total
        self._done = done
        self._num_failed = 0
        self._stream = stream or sys.stderr
        self._redraws = self._stream.isatty()
        self._samples: deque[tuple[float, int]] = deque([(time.monotonic(), done)])
        self._drawn_s = time.monotonic()
        self._width = 0

    @property
    def num_failed(self) -> int:
        """Of those counted here."""
        return self._num_failed

    def count(self, *, failed: bool) -> None:
        now_s = time.monotonic()
        self._done += 1
        self._num_failed += failed
        self._samples.append((now_s, self._done))
        while len(self._samples) > 2 and now_s - self._samples[0][0] > WINDOW_S:
            self._samples.popleft()
        if now_s - self._drawn_s >= (REDRAW_S if self._redraws else PLAIN_LINE_S):
            self._drawn_s = now_s
            self._draw()

    def finish(self) -> None:
        if self._redraws:
            self._draw()
            self._stream.write("\n")
            self._stream.flush()

    def line(self) -> str:
        (begin_s, first), (end_s, last) = self._samples[0], self._samples[-1]
        rate = (last - first) / (end_s - begin_s) if end_s > begin_s else 0.0
        share = 100 * self._done // max(self._total, 1)
        text = f"batch: {self._done} of {self._total} requests ({share} %), {rate:.1f}/s"
        if self._num_failed:
            text += f", {self._num_failed} failed"
        if rate and self._done < self._total:
            text += f", {_duration((self._total - self._done) / rate)} left"
        return text

    def _draw(self) -> None:
        line = self.line()
        if self._redraws:
            filled = BAR_CELLS * self._done // max(self._total, 1)
            line = f"[{'#' * filled}{'.' * (BAR_CELLS - filled)}] {line}"
            self._stream.write("\r" + line.ljust(self._width))
            self._width = len(line)
        else:
            self._stream.write(line + "\n")
        self._stream.flush()


def _duration(seconds: float) -> str:
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60:02d} s" if whole < 3600 else f"{whole / 3600:.1f} h"
