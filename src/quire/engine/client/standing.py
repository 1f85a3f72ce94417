"""Standing: whether requests are taken and computed. It outlives the engine process: a new one is told first."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from quire.base.commands import PARTS, Command, Hold, Part, Sleep, WakeUp

Mode = Literal["abort", "wait", "keep"]
Level = Literal[0, 1, 2]
MODES: tuple[Mode, ...] = ("abort", "wait", "keep")


@dataclass(slots=True)
class Standing:
    """`sleep_level` is None awake; at level 0 the engine keeps its memory. `missing` are parts that are not back yet.

    While `is_quieting` new requests are held, so that those under way can end. `refuses` says that they are turned
    away rather than held.
    """

    is_paused: bool = False
    sleep_level: Level | None = None
    missing: set[Part] = field(default_factory=set)
    is_quieting: bool = False
    refuses: bool = False

    @property
    def computes(self) -> bool:
        """Whether nothing has told the engine to stand still."""
        return not self.is_paused and self.sleep_level is None

    @property
    def holds(self) -> bool:
        """Whether a new request stays here instead of going to the engine."""
        return self.is_quieting or not self.computes

    def fall_asleep(self, level: Level) -> None:
        self.sleep_level = level
        self.missing = set(PARTS) if level else set()

    def orders(self) -> list[Command[Any]]:
        """What brings a new engine to where the old one stood."""
        if self.computes:
            return []
        orders: list[Command[Any]] = [Hold()]
        if self.missing and self.sleep_level:
            orders.append(Sleep(self.sleep_level))
            if present := [part for part in PARTS if part not in self.missing]:
                orders.append(WakeUp(present))
        return orders
