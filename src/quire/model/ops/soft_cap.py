"""soft_cap: cap · tanh(x / cap), which keeps logits within ±cap."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from quire.model.ops.contract import Case, Op


def reference(x: Tensor, cap: float) -> Tensor:
    """Any shape; `cap` above 0."""
    return torch.tanh(x / cap) * cap


def cases(seed: int, dtype: torch.dtype) -> Iterator[Case]:
    generator = torch.Generator().manual_seed(seed)
    for cap in (5.0, 30.0):
        yield {"x": (torch.randn(4, 33, generator=generator) * 20).to(dtype), "cap": cap}


soft_cap = Op("soft_cap", reference, cases)
