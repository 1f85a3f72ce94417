"""combine_experts: what the chosen experts gave for a row, weighted and added up."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from quire.model.ops.contract import Case, Op


def reference(x_RN: Tensor, weights_TC: Tensor) -> Tensor:
    """(T · C, N) with the rows of a token side by side, weights (T, C) in float32 → (T, N) in the inputs' dtype.

    Products are added in float32 from the first choice to the last and rounded once.
    """
    tokens, count = weights_TC.shape
    x_TCN = x_RN.view(tokens, count, -1)
    total_TN = torch.zeros(tokens, x_TCN.shape[-1], device=x_RN.device)
    for choice in range(count):
        total_TN = total_TN + weights_TC[:, choice, None] * x_TCN[:, choice].float()
    return total_TN.to(x_RN.dtype)


def cases(seed: int, dtype: torch.dtype) -> Iterator[Case]:
    generator = torch.Generator().manual_seed(seed)
    for tokens, count, width in ((1, 2, 64), (7, 8, 33), (40, 1, 100)):
        yield {
            "x_RN": torch.randn(tokens * count, width, generator=generator).to(dtype),
            "weights_TC": torch.rand(tokens, count, generator=generator),
        }


combine_experts = Op("combine_experts", reference, cases)
