"""Thinking: counts a reply's reasoning, and when its budget is spent lets only the end marker follow."""

from __future__ import annotations

from enum import Enum, auto

import torch
from torch import Tensor

from quire.base.messages import ThinkingBudget


class _Phase(Enum):
    BEFORE = auto()
    INSIDE = auto()
    OVER = auto()


class Thinking:
    """A step of the sampler that stands alone when it is due. Rebuilt from the outputs, it stands where it stood."""

    def __init__(self, budget: ThinkingBudget, output_ids: list[int]) -> None:
        self._budget = budget
        self._num_tokens = 0
        self._phase = _Phase.INSIDE if budget.starts_inside else _Phase.BEFORE
        for token_id in output_ids:
            self.accept(token_id)

    @property
    def forces_end(self) -> bool:
        return self._phase is _Phase.INSIDE and self._num_tokens >= self._budget.max_tokens

    def is_due(self, output_ids: list[int]) -> bool:
        return self.forces_end

    def apply(self, row_V: Tensor, output_ids: list[int]) -> None:
        kept = row_V[self._budget.end_id].clone()
        row_V.fill_(-torch.inf)
        # a logit of -inf would leave nothing to choose from
        row_V[self._budget.end_id] = kept if torch.isfinite(kept) else 0.0

    def accept(self, token_id: int) -> None:
        if self._phase is _Phase.BEFORE and token_id in self._budget.begin_ids:
            self._phase = _Phase.INSIDE
        elif self._phase is _Phase.INSIDE:
            self._num_tokens += 1
            if token_id == self._budget.end_id:
                self._phase = _Phase.OVER
