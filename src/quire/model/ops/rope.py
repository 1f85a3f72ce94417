"""rope: turns pairs of a head's dimensions by an angle that grows with the position.

Layout "neox": pair i is (x[i], x[i + R/2]) of the first R dimensions; the dimensions past R stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from quire.model.ops.contract import Case, Op


def reference(x_TNH: Tensor, cos_TR: Tensor, sin_TR: Tensor) -> Tensor:
    """`cos_TR` and `sin_TR` belong to R/2 angles per token; they are rounded to x's dtype."""
    half = cos_TR.shape[-1]
    cos = cos_TR.to(x_TNH.dtype).unsqueeze(1)
    sin = sin_TR.to(x_TNH.dtype).unsqueeze(1)
    left, right, rest = x_TNH[..., :half], x_TNH[..., half : 2 * half], x_TNH[..., 2 * half :]
    return torch.cat((left * cos - right * sin, right * cos + left * sin, rest), dim=-1)


def cases(seed: int, dtype: torch.dtype) -> Iterator[Case]:
    generator = torch.Generator().manual_seed(seed)
    for tokens, heads, head_dim, rotary_dim in ((1, 2, 16, 16), (9, 3, 32, 8), (5, 1, 64, 64)):
        angles = torch.rand(tokens, rotary_dim // 2, generator=generator) * 100
        yield {
            "x_TNH": torch.randn(tokens, heads, head_dim, generator=generator).to(dtype),
            "cos_TR": angles.cos(),
            "sin_TR": angles.sin(),
        }


rope = Op("rope", reference, cases)
