"""Vigil: has the engine process stopped making progress? Judged from outside, so that no thread of it must help.

Every step ends in a message: that is its heartbeat. Two rules say when silence is a hang:

still   for STILL_LIMIT_S the process neither computed nor read anything. A stopped or deadlocked process is
        still; one that works on a long first prompt, or loads from a slow disk, is not.
slow    a step lasts far longer than the recent ones let expect, whatever the process does meanwhile.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

STILL_LIMIT_S = 4.0  # with the interval of looking below 5 s
SLOW_FLOOR_S = 5.0
SLOW_FACTOR = 4.0
FIRST_STEP_LIMIT_S = 300.0  # while there is nothing to compare with
NUM_RECENT_STEPS = 100
LOOK_INTERVAL_S = 0.5
MIN_BUSY_TICKS = 2  # of 10 ms in one look: less is an input thread taking messages, not work
MIN_READ_BYTES = 64 * 1024  # wake-ups between threads count as reads, too


@dataclass(frozen=True, slots=True)
class Signs:
    """What the kernel knows of a process: counters that grow while it does anything."""

    is_runnable: bool
    ticks: int = 0
    major_faults: int = 0
    read_bytes: int = 0

    def show_work_since(self, earlier: Signs) -> bool:
        return (
            self.is_runnable
            or self.ticks - earlier.ticks >= MIN_BUSY_TICKS
            or self.major_faults > earlier.major_faults
            or self.read_bytes - earlier.read_bytes >= MIN_READ_BYTES
        )


def read_signs(pid: int) -> Signs | None:
    """Of a process and those it waits for, such as a compiler. None where they cannot be read: no /proc, or the
    process is gone (which others notice)."""
    try:
        with (
            open(f"/proc/{pid}/stat") as stat,
            open(f"/proc/{pid}/io") as counters,
            open(f"/proc/{pid}/task/{pid}/children") as children,
        ):
            fields = stat.read().rpartition(")")[2].split()
            read_bytes = int(counters.readline().split()[1])
            family = [signs for child in children.read().split() if (signs := read_signs(int(child)))]
    except (OSError, IndexError, ValueError):
        return None
    own = Signs(fields[0] == "R", int(fields[11]) + int(fields[12]), int(fields[9]), read_bytes)
    return Signs(
        any(signs.is_runnable for signs in (own, *family)),
        *(sum(getattr(s, name) for s in (own, *family)) for name in ("ticks", "major_faults", "read_bytes")),
    )


class Vigil:
    """One for all engine processes of a client: what a step takes is known again after a restart.

    `step_limit_s` None takes the limit of the slow rule from recent steps, 0 turns both rules off, and any other
    number is the limit, however still the process is.
    """

    def __init__(self, max_step_tokens: int, step_limit_s: float | None = None) -> None:
        self._max_step_tokens = max_step_tokens
        self._given_limit_s = step_limit_s
        self._seconds_per_token: deque[float] = deque(maxlen=NUM_RECENT_STEPS)
        self._last_step_s = 0.0
        self._last_look_s = 0.0
        self._silent_s = 0.0
        self._still_s = 0.0
        self._signs: Signs | None = None

    @property
    def interval_s(self) -> float:
        """How often to `look`."""
        return min(LOOK_INTERVAL_S, (self._given_limit_s or SLOW_FLOOR_S) / 4)

    @property
    def slow_limit_s(self) -> float:
        """How long a step may last: a full one at the price per token of the dearest recent one, and more."""
        if self._given_limit_s is not None:
            return self._given_limit_s
        if not self._seconds_per_token:
            return FIRST_STEP_LIMIT_S
        return max(SLOW_FLOOR_S, SLOW_FACTOR * max(self._seconds_per_token) * self._max_step_tokens)

    def begin(self, now_s: float) -> None:
        """The process has something to do from now on."""
        self._last_step_s = now_s
        self.note_news()

    def note_news(self) -> None:
        """The process said something."""
        self._silent_s = self._still_s = 0.0

    def note_step(self, now_s: float, num_tokens: int) -> None:
        """A step ended."""
        if num_tokens:
            self._seconds_per_token.append((now_s - self._last_step_s) / num_tokens)
        self.begin(now_s)

    def look(self, now_s: float, signs: Signs | None, *, is_loading: bool) -> str | None:
        """Why the process counts as hung, or None. Call it all the time while there is something to do.

        Only time that was looked at counts: who was asleep himself cannot say who else was.
        """
        passed_s = min(now_s - self._last_look_s, 2 * self.interval_s)
        self._last_look_s = now_s
        if self._given_limit_s == 0:
            return None
        works = signs is None or self._signs is None or signs.show_work_since(self._signs)
        self._signs = signs
        self._silent_s += passed_s
        self._still_s = 0.0 if works else self._still_s + passed_s
        if self._still_s >= STILL_LIMIT_S and self._given_limit_s is None:
            return f"the engine process stood still for {self._still_s:.1f} s"
        if not is_loading and self._silent_s > self.slow_limit_s:
            return f"a step of the engine took more than {self.slow_limit_s:.3g} s{self._origin}"
        return None

    @property
    def _origin(self) -> str:
        if self._given_limit_s is not None:
            return " (VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS)"
        return ", far beyond the recent ones"
