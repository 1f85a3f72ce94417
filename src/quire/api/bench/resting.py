"""Between two measurements of a comparison all sides come to rest: threads that go on spinning after a request would
take the cores from the side that is asked next."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

WINDOW_S = 0.3
IDLE_CORES = 0.1  # at most used, on average over a window, when all sides rest
LIMIT_S = 10.0
UNSEEN_S = 2.0  # what a side is given whose processes are not seen
PROCESSES = Path("/proc")
SESSION, USER_TIME, SYSTEM_TIME = 3, 11, 12  # fields of /proc/*/stat after the command's name


class Rest(NamedTuple):
    """How long it took, and the cores that were in use at the end of it."""

    waited_s: float
    cores: float

    def __str__(self) -> str:
        if self.cores <= IDLE_CORES:
            return f"rest: {self.waited_s:.1f} s"
        return (
            f"no rest: {self.cores:.1f} cores still used after {self.waited_s:.0f} s; the next figure suffers"
        )


def wait_for_rest(
    processor_s: Callable[[], float],
    least_s: float,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.perf_counter,
) -> Rest:
    """Waits until a window in which `processor_s`, processor time used so far, hardly grew; at least `least_s` and
    about LIMIT_S at most."""
    began_s = before_s = clock()
    used_s = processor_s()
    while True:
        sleep(WINDOW_S)
        now_s, now_used_s = clock(), processor_s()
        rest = Rest(now_s - began_s, (now_used_s - used_s) / (now_s - before_s))
        if rest.waited_s >= (least_s if rest.cores <= IDLE_CORES else LIMIT_S):
            return rest
        before_s, used_s = now_s, now_used_s


def processor_seconds(leaders: Iterable[int]) -> float:
    """Used so far by the processes of these sessions, given as their leaders' ids; 0 where there is no /proc."""
    sessions, ticks = {str(leader) for leader in leaders}, 0
    for stat in PROCESSES.glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if fields[SESSION] in sessions:
            ticks += int(fields[USER_TIME]) + int(fields[SYSTEM_TIME])
    return ticks / os.sysconf("SC_CLK_TCK")
