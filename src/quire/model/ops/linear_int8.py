"""linear_int8: linear with both sides rounded to 8 bits, weights per output, inputs per row as they come.

A row x is rounded to q = round(x · (127 / max|x|)), ties to even, and stands for q · max|x| / 127. Sums of products
of such integers are exact, so a row's result has the same bits in every company, with every provider: the reference
adds them up in float64, which holds them exactly, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

import torch
from torch import Tensor

from quire.model.kernels import Prepared
from quire.model.ops.contract import Case, Op

LARGEST = 127.0


class Int8Weight(Prepared):
    """A weight (N, K) rounded to 8 bits; stands for values · scale, in `dtype`."""

    def __init__(self, weight_NK: Tensor) -> None:
        self.shape, self.dtype = weight_NK.shape, weight_NK.dtype
        rounded, self.scale_N1 = round_rows(weight_NK.detach())
        self.values_NK = rounded.to(torch.int8)

    def tensors(self) -> dict[str, Tensor]:
        return {"values": self.values_NK, "scale": self.scale_N1}

    @classmethod
    def restore(cls, shape: torch.Size, dtype: torch.dtype, tensors: dict[str, Tensor]) -> Self:
        weight = cls.__new__(cls)
        weight.shape, weight.dtype = shape, dtype
        weight.values_NK, weight.scale_N1 = tensors["values"], tensors["scale"]
        return weight

    def rows(self, index_T: Tensor) -> Tensor:
        return (self.values_NK[index_T].float() * self.scale_N1[index_T]).to(self.dtype)


def round_rows(x_MK: Tensor) -> tuple[Tensor, Tensor]:
    """(whole numbers within ±127 in float32, scales (M, 1)). A row with a NaN or an infinity has the scale NaN."""
    wide = x_MK.float()
    highest = wide.abs().amax(-1, keepdim=True)
    usable = highest.isfinite() & (highest > 0)
    inverse = (
        torch.full_like(highest, LARGEST) / highest
    )  # a number over a tensor would be times its reciprocal
    rounded = torch.where(usable, wide * inverse, 0.0).round()
    return rounded, torch.where(highest.isfinite(), highest / LARGEST, torch.nan)


def reference(
    x_MK: Tensor,
    weight_NK: Tensor | Prepared,
    bias_N: Tensor | None = None,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    """(M, K) x (N, K) → (M, N), in the inputs' dtype or in float32 as `out_dtype` asks.
    A weight given as a tensor is rounded on the spot."""
    weight = Int8Weight(weight_NK) if isinstance(weight_NK, Tensor) else weight_NK
    assert isinstance(weight, Int8Weight), "this weight was prepared for another provider"
    rounded, scale_M1 = round_rows(x_MK)
    sums = (rounded.double() @ weight.values_NK.double().T).float()
    product = sums * scale_M1 * weight.scale_N1.T
    return (product if bias_N is None else product + bias_N.float()).to(out_dtype or x_MK.dtype)


def cases(seed: int, dtype: torch.dtype) -> Iterator[Case]:
    generator = torch.Generator().manual_seed(seed)
    for rows, inner, outer, has_bias in ((1, 64, 48, False), (7, 33, 17, True), (64, 256, 160, True)):
        yield {
            "x_MK": torch.randn(rows, inner, generator=generator).to(dtype),
            "weight_NK": (torch.randn(outer, inner, generator=generator) * inner**-0.5).to(dtype),
            "bias_N": torch.randn(outer, generator=generator).to(dtype) if has_bias else None,
            "out_dtype": torch.float32 if rows == 7 else None,
        }


linear_int8 = Op("linear_int8", reference, cases, prepare_reference=Int8Weight)
