"""rms_norm: x / sqrt(mean(x²) + eps) · weight, computed in float32.

The order of the last cast differs between families and shows in bfloat16: Llama casts the normalised row
back first and multiplies then; Gemma multiplies by (1 + weight) in float32 and casts last (`offset=1`).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from quire.model.ops.contract import Case, Op


def reference(x: Tensor, weight_H: Tensor, eps: float, offset: float = 0.0) -> Tensor:
    """Normalises the last dimension; any leading shape. `offset` is added to the weight."""
    wide = x.float()
    normalised = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
    if offset:
        return (normalised * (weight_H.float() + offset)).to(x.dtype)
    return normalised.to(x.dtype) * weight_H


def cases(seed: int, dtype: torch.dtype) -> Iterator[Case]:
    generator = torch.Generator().manual_seed(seed)
    for shape, offset in (((1, 64), 0.0), ((7, 33), 1.0), ((5, 4, 16), 0.0)):
        yield {
            "x": torch.randn(shape, generator=generator).to(dtype) * 3,
            "weight_H": torch.randn(shape[-1], generator=generator).to(dtype),
            "eps": 1e-6,
            "offset": offset,
        }


rms_norm = Op("rms_norm", reference, cases)
