"""Coverage: how many of the documented names act on a platform, and what the others wait for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from quire.base.config.setting import Effect, State
from quire.base.config.table import Table


@dataclass(frozen=True, slots=True)
class Coverage:
    """`counts` holds names by (kind, effect), `awaited` names by the capability that they wait for."""

    kinds: ClassVar = ("options", "variables")
    platform: str
    counts: Counter[tuple[str, Effect]]
    awaited: Counter[str]

    @property
    def num_names(self) -> int:
        return self.counts.total()

    @property
    def num_remaining(self) -> int:
        """Names that become effective with a capability still to be built."""
        return self.awaited.total()

    def of(self, kind: str, effect: Effect) -> int:
        return self.counts[kind, effect]


def count_coverage(table: Table, platform: str) -> Coverage:
    """Options and documented variables; an option's own QUIRE_* name is not counted."""
    named: list[tuple[str, State]] = []
    for setting in table.all:
        state = setting.state_on(platform)
        if setting.has_flag:
            named.append(("options", state))
        named += [("variables", state) for _ in setting.environment]
    counts = Counter((kind, state.effect) for kind, state in named)
    awaited = Counter(state.awaits for _, state in named if state.awaits)
    return Coverage(platform, counts, awaited)
