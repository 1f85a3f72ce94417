"""StepTimes: how long the engine's steps took, added up over any stretch of time."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

MAX_STEPS = 100_000  # a request that outlasts these gets the sums of those that are remembered


class StepTimes:
    """Steps in order of their start, as `time.monotonic()` has it."""

    def __init__(self) -> None:
        self._started_s: list[float] = []
        self._forward_s = [0.0]  # of all steps before
        self._execute_s = [0.0]

    def add(self, started_s: float, forward_s: float, execute_s: float) -> None:
        self._started_s.append(started_s)
        self._forward_s.append(self._forward_s[-1] + forward_s)
        self._execute_s.append(self._execute_s[-1] + execute_s)
        if len(self._started_s) > MAX_STEPS:
            half = MAX_STEPS // 2
            del self._started_s[:half], self._forward_s[:half], self._execute_s[:half]

    def between(self, begin_s: float, end_s: float) -> tuple[float, float]:
        """(seconds in the network, seconds in the worker) of the steps that began within."""
        first, last = bisect_left(self._started_s, begin_s), bisect_right(self._started_s, end_s)
        if last <= first:
            return 0.0, 0.0
        return self._forward_s[last] - self._forward_s[first], self._execute_s[last] - self._execute_s[first]
