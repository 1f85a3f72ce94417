"""When requests start: at a rate with gamma-distributed gaps, or all at once."""

from __future__ import annotations

import math
import random


def arrival_times_s(count: int, rate: float, burstiness: float = 1.0, seed: int = 0) -> list[float]:
    """Seconds after the start for each of `count` requests at `rate` per second (infinity: all at 0).

    Gaps are gamma-distributed with shape `burstiness`: 1 is a Poisson process, less comes in bursts, more is
    steadier. They are scaled to end where the rate says, so that two runs of one length offer the same load.
    """
    if math.isinf(rate):
        return [0.0] * count
    chance = random.Random(seed)
    times, now = [], 0.0
    for _ in range(count):
        now += chance.gammavariate(burstiness, 1 / (rate * burstiness))
        times.append(now)
    scale = count / rate / now if now else 1.0
    return [time * scale for time in times]
