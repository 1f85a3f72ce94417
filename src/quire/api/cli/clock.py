"""StartClock: where the time from the command to readiness goes."""

from __future__ import annotations

import os
import time


class StartClock:
    """Laps since the process was started (not since Python got to run our code)."""

    def __init__(self) -> None:
        now_s = time.monotonic()
        self._started_s = now_s - process_age_s()
        self._last_s = now_s
        self.laps: list[tuple[str, float]] = [("python", now_s - self._started_s)]

    def lap(self, name: str) -> None:
        """The time since the last lap goes to `name`."""
        now_s = time.monotonic()
        self.laps.append((name, now_s - self._last_s))
        self._last_s = now_s

    @property
    def total_s(self) -> float:
        """Since the process was started."""
        return time.monotonic() - self._started_s


def process_age_s() -> float:
    """Seconds since the kernel started this process, to 10 ms; 0 where /proc does not tell."""
    try:
        with open("/proc/self/stat", encoding="ascii", errors="replace") as stat:
            # field 22; the name in field 2 may hold spaces, so count from its closing parenthesis
            started_ticks = int(stat.read().rpartition(")")[2].split()[19])
        age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - started_ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError, IndexError):
        return 0.0
    return max(0.0, age_s)
