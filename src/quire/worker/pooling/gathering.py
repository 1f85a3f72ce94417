"""Gathering: what is kept of a sequence's hidden states while its chunks come by, one class for each way to pool.

What comes of it does not depend on how the prompt was cut: a kept part is put in the place of what was kept from the
same position on, so a chunk that is computed again changes nothing.
Shapes: C tokens of a chunk, N tokens of the prompt, H hidden size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor


class Gathering(Protocol):
    """One sequence's. `add` in order of position, `finish` once its last token is in."""

    def add(self, hidden_CH: Tensor, start: int) -> None: ...

    def finish(self) -> Tensor:
        """float32: (1, H), or (N, H) where every token is wanted."""
        ...


class First:
    """The first token's state."""

    def __init__(self) -> None:
        self._first_1H: Tensor | None = None

    def add(self, hidden_CH: Tensor, start: int) -> None:
        if start == 0:
            self._first_1H = hidden_CH[:1].float().clone()  # the forward pass writes over its result

    def finish(self) -> Tensor:
        assert self._first_1H is not None, "the prompt's beginning was never computed"
        return self._first_1H


class Last:
    """The last token's state. It alone does not need the beginning, which may come from the prefix cache."""

    def __init__(self) -> None:
        self._last_1H: Tensor | None = None

    def add(self, hidden_CH: Tensor, start: int) -> None:
        self._last_1H = hidden_CH[-1:].float()

    def finish(self) -> Tensor:
        assert self._last_1H is not None
        return self._last_1H


class Mean:
    """The mean of all states, added up token by token in float64, so that it is the same however they were cut."""

    def __init__(self) -> None:
        self._sums: list[tuple[int, Tensor]] = []  # (tokens, their sum), after each chunk

    def add(self, hidden_CH: Tensor, start: int) -> None:
        self._sums = [kept for kept in self._sums if kept[0] <= start]
        wide_CH = hidden_CH.double()
        if start:
            assert self._sums and self._sums[-1][0] == start, "a chunk is missing"
            wide_CH = torch.cat((self._sums[-1][1].unsqueeze(0), wide_CH))
        self._sums.append((start + len(hidden_CH), wide_CH.cumsum(0)[-1]))
        del self._sums[:-2]  # the last chunk may come again, no earlier one

    def finish(self) -> Tensor:
        count, sum_H = self._sums[-1]
        return (sum_H / count).float().unsqueeze(0)


class Every:
    """All states."""

    def __init__(self) -> None:
        self._parts: list[tuple[int, Tensor]] = []

    def add(self, hidden_CH: Tensor, start: int) -> None:
        self._parts = [part for part in self._parts if part[0] < start]
        self._parts.append((start, hidden_CH.float().clone()))  # the forward pass writes over its result

    def finish(self) -> Tensor:
        rows_NH = torch.cat([part for _, part in self._parts])
        assert self._parts[0][0] == 0, "the prompt's beginning was never computed"
        return rows_NH


GATHERINGS: dict[str, Callable[[], Gathering]] = {
    "CLS": First,
    "LAST": Last,
    "MEAN": Mean,
    "ALL": Every,
    "STEP": Every,
}
