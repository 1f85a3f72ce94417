"""How a stream is cut into items: the first small, so that it comes soon, each further one larger.

This is transport only; what the engine computes together is not touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quire.api.serverless.failures import JobError


@dataclass(frozen=True, slots=True)
class BatchGrowth:
    """Sizes 1, 3, 9, 27, 50, 50, … for least 1, factor 3, most 50; constant `most` where nothing can grow."""

    most: int = 50
    least: int = 1
    factor: float = 3.0

    @property
    def grows(self) -> bool:
        return self.factor > 1 and self.least >= 1 and self.most > self.least

    def asked_by(self, fields: Mapping[str, Any]) -> BatchGrowth:
        """The same with a job's own fields. Raises JobError naming the field."""
        return BatchGrowth(
            most=int(_field(fields, "max_batch_size", self.most, 1)),
            least=int(_field(fields, "min_batch_size", self.least, 0)),
            factor=_field(fields, "batch_size_growth_factor", self.factor, 0),
        )


MAX_ITEM_BYTES = 900_000  # the platform takes 1 MB; an item is closed once it holds this much


class BatchCounter:
    """Counts outputs of one stream and says when an item is full."""

    def __init__(self, growth: BatchGrowth) -> None:
        self._growth = growth
        self._size = float(growth.least if growth.grows else growth.most)
        self.count = 0
        self._held_bytes = 0

    def add(self, size_bytes: int) -> bool:
        """One more output; whether the item is full now (and the next one begins)."""
        self.count += 1
        self._held_bytes += size_bytes
        if self.count < self._size:
            if self._held_bytes < MAX_ITEM_BYTES:
                return False
            self.count = self._held_bytes = 0
            return True
        self.count = self._held_bytes = 0
        if self._growth.grows:
            self._size = min(self._size * self._growth.factor, self._growth.most)
        return True


def _field(fields: Mapping[str, Any], name: str, default: float, low: float) -> float:
    """A job's number; left out, null and 0 mean the worker's default."""
    value = fields.get(name)
    if not value:
        return default
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            value = None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value < float("inf"):
        raise JobError(f"{name} must be a number of at least {low:g}, got {fields[name]!r}", param=name)
    return float(value)
