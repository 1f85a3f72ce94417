"""scale: x · factor, the factor rounded to x's dtype first, as families that scale their embeddings were trained."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from quire.model.ops.contract import Case, Op


def reference(x_TD: Tensor, factor: float) -> Tensor:
    return x_TD * x_TD.new_tensor(factor)


def cases(seed: int, dtype: torch.dtype) -> Iterator[Case]:
    generator = torch.Generator().manual_seed(seed)
    for shape, factor in (((1, 64), 8.0), ((7, 33), 0.25), ((64, 256), 48.0)):
        yield {"x_TD": torch.randn(shape, generator=generator).to(dtype), "factor": factor}


scale = Op("scale", reference, cases)
