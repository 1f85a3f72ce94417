"""add: x + y, the residual stream's sum."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from quire.model.ops.contract import Case, Op


def reference(x_TD: Tensor, y_TD: Tensor) -> Tensor:
    """Equal shapes and dtypes."""
    return x_TD + y_TD


def cases(seed: int, dtype: torch.dtype) -> Iterator[Case]:
    generator = torch.Generator().manual_seed(seed)
    for shape in ((1, 64), (7, 33), (64, 256)):
        x, y = torch.randn(2, *shape, generator=generator).to(dtype)
        yield {"x_TD": x, "y_TD": y}


add = Op("add", reference, cases)
