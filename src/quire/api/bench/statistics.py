"""Numbers about numbers: percentiles, and the figures a person reads off a set of measurements."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean, median, pstdev


def percentile(values: Sequence[float], percent: float) -> float:
    """Linear between the two nearest ranks, as numpy's default; 0 of no values."""
    if not values:
        return 0.0
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def figures(name: str, values_s: Sequence[float], percents: Iterable[float]) -> dict[str, float]:
    """mean_, median_, std_ and p<percent>_ of seconds, in milliseconds: {"mean_ttft_ms": …} for name "ttft"."""
    values_ms = [1000 * value for value in values_s]
    result = {
        f"mean_{name}_ms": fmean(values_ms) if values_ms else 0.0,
        f"median_{name}_ms": median(values_ms) if values_ms else 0.0,
        f"std_{name}_ms": pstdev(values_ms) if values_ms else 0.0,
    }
    for percent in percents:
        result[f"p{percent:g}_{name}_ms"] = percentile(values_ms, percent)
    return result


def spread(values: Sequence[float]) -> dict[str, float]:
    """Least, middle and greatest of at least one value."""
    return {"min": min(values), "median": median(values), "max": max(values)}


def most_in_flight(spans: Iterable[tuple[float, float]]) -> int:
    """The greatest number of (start, end) spans that overlap; one that ends where another starts does not."""
    changes = sorted(change for start, end in spans for change in ((start, 1), (end, -1)))
    running = most = 0
    for _, change in changes:
        running += change
        most = max(most, running)
    return most
