"""Prepared: a weight in the layout of the provider that will read it."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor


class Prepared(ABC):
    """Takes the place of a weight tensor, of which no other copy is kept. `shape` and `dtype` are the tensor's."""

    shape: torch.Size
    dtype: torch.dtype

    @abstractmethod
    def rows(self, index_T: Tensor) -> Tensor:
        """Rows of the weight by int64 index, exactly as they were."""
