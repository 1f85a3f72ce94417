"""A histogram as plain integers: observing costs a bisect, rendering happens only when scraped."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate


class Distribution:
    """Counts of observed values per bucket, with their sum. `edges` are inclusive upper bounds, rising."""

    __slots__ = ("counts", "edges", "total")

    def __init__(self, edges: tuple[float, ...]) -> None:
        self.edges = edges
        self.counts = [0] * (len(edges) + 1)  # the last one holds what lies above every edge
        self.total = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        self.counts[bisect_left(self.edges, value)] += times
        self.total += value * times

    def cumulative(self) -> list[tuple[str, float]]:
        """(edge, how many values are at most that) per bucket, as Prometheus wants it."""
        names = [*(f"{edge:g}" if edge < 1e6 else repr(edge) for edge in self.edges), "+Inf"]
        return [(name, float(count)) for name, count in zip(names, accumulate(self.counts), strict=True)]
