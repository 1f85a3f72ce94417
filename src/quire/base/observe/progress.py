"""One line of progress for what is on its way: a redrawn bar on a terminal, now and then a plain line elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque
from typing import NamedTuple, TextIO

BAR_CELLS = 24
REDRAW_S = 0.2
PLAIN_LINE_S = 10.0


class Unit(NamedTuple):
    """How amounts are told: `size` of what is counted make one of `name`. Speed is over the last `window_s`."""

    name: str
    size: float = 1
    decimals: int = 0
    window_s: float = 10.0


MEGABYTES = Unit("MB", size=1e6, decimals=1)


class Progress:
    """Shows how much of `total` is done, the speed over the last seconds and the time left, on stderr.

    What is over within `quiet_s` seconds of the first update is not shown at all. `remark` is said after the speed.
    """

    def __init__(
        self,
        name: str,
        total: int,
        done: int = 0,
        *,
        unit: Unit = MEGABYTES,
        quiet_s: float = 0.0,
        stream: TextIO | None = None,
    ) -> None:
        self.remark = ""
        self._name = name
        self._total = max(total, 1)
        self._unit = unit
        self._stream = stream or sys.stderr
        self._redraws = self._stream.isatty()
        self._samples: deque[tuple[float, int]] = deque([(time.monotonic(), done)])
        self._quiet_s = quiet_s
        self._quiet_until: float | None = None
        self._drawn_at = -PLAIN_LINE_S
        self._width = 0

    def update(self, done: int) -> None:
        now = time.monotonic()
        if self._quiet_until is None:
            self._quiet_until = now + self._quiet_s
        self._samples.append((now, min(done, self._total)))
        while len(self._samples) > 2 and now - self._samples[0][0] > self._unit.window_s:
            self._samples.popleft()
        if now >= self._quiet_until and now - self._drawn_at >= (REDRAW_S if self._redraws else PLAIN_LINE_S):
            self._drawn_at = now
            self._draw()

    def finish(self) -> None:
        """All is there; says so if anything was shown before."""
        now = time.monotonic()
        if self._drawn_at < 0 and (self._quiet_until is None or now < self._quiet_until):
            return
        self._samples.append((now, self._total))
        self._draw()
        if self._redraws:
            self._stream.write("\n")
            self._stream.flush()

    def line(self) -> str:
        """The present state in words."""
        (start, first), (end, done) = self._samples[0], self._samples[-1]
        size, decimals = self._unit.size, self._unit.decimals
        speed = (done - first) / (end - start) if end > start else 0.0
        left = f", {_duration((self._total - done) / speed)} left" if speed > 0 and done < self._total else ""
        return (
            f"{self._name}: {done / size:.{decimals}f} of {self._total / size:.{decimals}f} {self._unit.name} "
            f"({100 * done // self._total} %), {speed / size:.1f} {self._unit.name}/s{self.remark}{left}"
        )

    def _draw(self) -> None:
        line = self.line()
        if self._redraws:
            filled = BAR_CELLS * self._samples[-1][1] // self._total
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
    return (
        f"{whole // 60} min {whole % 60:02d} s"
        if whole < 3600
        else f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    )
