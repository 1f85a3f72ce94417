"""Thinking: counts a reply's reasoning, and when its budget is spent lets only what ends it follow."""

from __future__ import annotations

from enum import Enum, auto

import torch
from torch import Tensor

from quire.base.messages import ThinkingBudget


class _Phase(Enum):
    BEFORE = auto()
    INSIDE = auto()
    FORCED = auto()
    OVER = auto()


class Thinking:
    """A step of the sampler that stands alone when it is due. Rebuilt from the outputs, it stands where it stood."""

    def __init__(self, budget: ThinkingBudget, output_ids: list[int]) -> None:
        self._budget = budget
        self._num_tokens = 0
        self._num_forced = 0
        self._phase = _Phase.BEFORE
        if budget.starts_inside:
            self._go_inside()
        for token_id in output_ids:
            self.accept(token_id)

    @property
    def forces_end(self) -> bool:
        return self._phase is _Phase.FORCED

    def is_due(self, output_ids: list[int]) -> bool:
        return self.forces_end

    def apply(self, row_V: Tensor, output_ids: list[int]) -> None:
        forced_id = self._budget.forced_ids[self._num_forced]
        kept = row_V[forced_id].clone()
        row_V.fill_(-torch.inf)
        # a logit of -inf would leave nothing to choose from
        row_V[forced_id] = kept if torch.isfinite(kept) else 0.0

    def accept(self, token_id: int) -> None:
        if self._phase is _Phase.BEFORE and token_id in self._budget.begin_ids:
            self._go_inside()
        elif self._phase is _Phase.FORCED:
            self._num_forced += 1
            if self._num_forced == len(self._budget.forced_ids):
                self._phase = _Phase.OVER
        elif self._phase is _Phase.INSIDE:
            self._num_tokens += 1
            if token_id == self._budget.end_id:
                self._phase = _Phase.OVER
            elif self._num_tokens >= self._budget.max_tokens:
                self._phase = _Phase.FORCED

    def _go_inside(self) -> None:
        self._phase = _Phase.INSIDE if self._budget.max_tokens else _Phase.FORCED
