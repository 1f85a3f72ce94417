"""layer_norm: (x - mean) / sqrt(variance + eps) · weight + bias over the last dimension."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from quire.model.ops.contract import Case, Op


def reference(x: Tensor, weight_H: Tensor, bias_H: Tensor | None, eps: float) -> Tensor:
    """Any leading shape; statistics in float32, result in x's dtype."""
    return F.layer_norm(x, weight_H.shape, weight_H, bias_H, eps)


def cases(seed: int, dtype: torch.dtype) -> Iterator[Case]:
    generator = torch.Generator().manual_seed(seed)
    for shape, has_bias in (((1, 64), True), ((7, 33), False), ((64, 256), True)):
        yield {
            "x": torch.randn(shape, generator=generator).to(dtype) * 3,
            "weight_H": torch.randn(shape[-1], generator=generator).to(dtype),
            "bias_H": torch.randn(shape[-1], generator=generator).to(dtype) if has_bias else None,
            "eps": 1e-5,
        }


layer_norm = Op("layer_norm", reference, cases)
