"""linear_int4: linear with weights of 4 bits in groups along the inputs, inputs rounded to 8 bits or as they are.

A group of a row of the weight is whole numbers from -8 to 7 times one scale. The scale is the best of a few: that
with the least sum of squared errors, added up along the group, so that every provider finds the same one. A weight
whose inputs are no whole number of groups is filled up with zeros.

Rounded inputs are those of linear_int8. The sums of a group are whole numbers and exact; from group to group, scaled,
they add up in float32, the first group first. So a row has the same bits in every company, with every provider. Exact
inputs meet the weight that `rows` gives, in linear.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from quire.model.kernels import Prepared
from quire.model.ops.contract import Case, Op
from quire.model.ops.linear import linear
from quire.model.ops.linear_int8 import round_rows

LOWEST, HIGHEST = -8.0, 7.0
# what the number of a group that lies farthest from 0 is rounded to, before it is cut to the range: tried in order
EXTREMES = (-8.0, -7.5, -7.0, -8.5, -9.0, 7.0, 6.5, 7.5, 8.0)


class Int4Weight(Prepared):
    """A weight (N, K) rounded to 4 bits; stands for values · scale, in `dtype`."""

    def __init__(self, weight_NK: Tensor, group_size: int = 64, rounds_inputs: bool = True) -> None:
        self.shape, self.dtype = weight_NK.shape, weight_NK.dtype
        self.rounds_inputs = rounds_inputs
        self.values_NGS, self.scale_NG = round_groups(weight_NK.detach(), group_size)

    def tensors(self) -> dict[str, Tensor]:
        form = torch.tensor([self.rounds_inputs])
        return {"values": self.values_NGS, "scales": self.scale_NG, "form": form}

    @classmethod
    def restore(cls, shape: torch.Size, dtype: torch.dtype, tensors: dict[str, Tensor]) -> Self:
        weight = cls.__new__(cls)
        weight.shape, weight.dtype, weight.rounds_inputs = shape, dtype, bool(tensors["form"].item())
        weight.values_NGS, weight.scale_NG = tensors["values"], tensors["scales"]
        return weight

    def rows(self, index_T: Tensor) -> Tensor:
        wide = self.values_NGS[index_T].float() * self.scale_NG[index_T].float().unsqueeze(-1)
        return wide.flatten(1)[:, : self.shape[1]].to(self.dtype)


def round_groups(weight_NK: Tensor, group_size: int) -> tuple[Tensor, Tensor]:
    """(values (N, groups, size) in int8, scales (N, groups) in bfloat16). The scale of a group with a NaN or an
    infinity is NaN."""
    wide = F.pad(weight_NK.float(), (0, -weight_NK.shape[1] % group_size))
    wide_NGS = wide.view(len(wide), -1, group_size)
    highest, lowest = wide_NGS.amax(-1), wide_NGS.amin(-1)
    farthest = torch.where(highest >= -lowest, highest, lowest)
    best_scale = torch.zeros_like(farthest)
    best_error = torch.full_like(farthest, torch.inf)
    for extreme in EXTREMES:
        scale = (farthest / extreme).bfloat16().float()
        values_NGS = _rounded(wide_NGS, scale)
        error = torch.zeros_like(scale)
        for k in range(group_size):
            missed = wide_NGS[..., k] - values_NGS[..., k] * scale
            error = error + missed * missed
        is_better = error < best_error
        best_error = torch.where(is_better, error, best_error)
        best_scale = torch.where(is_better, scale, best_scale)
    usable = wide_NGS.isfinite().all(-1)
    best_scale = torch.where(usable, best_scale, torch.nan)
    wide_NGS = torch.where(usable.unsqueeze(-1), wide_NGS, 0.0)
    return _rounded(wide_NGS, best_scale).to(torch.int8), best_scale.bfloat16()


def _rounded(wide_NGS: Tensor, scale_NG: Tensor) -> Tensor:
    """Whole numbers in float32; all 0 where nothing can be divided by the scale."""
    inverse = torch.ones_like(scale_NG) / scale_NG
    inverse = torch.where(inverse.isfinite(), inverse, 0.0)
    return (wide_NGS * inverse.unsqueeze(-1)).round().clamp(LOWEST, HIGHEST)


def reference(
    x_MK: Tensor,
    weight_NK: Tensor | Prepared,
    bias_N: Tensor | None = None,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    """(M, K) x (N, K) → (M, N), in the inputs' dtype or in float32 as `out_dtype` asks.
    A weight given as a tensor is rounded on the spot."""
    weight = Int4Weight(weight_NK) if isinstance(weight_NK, Tensor) else weight_NK
    assert isinstance(weight, Int4Weight), "this weight was prepared for another provider"
    if not weight.rounds_inputs:
        return linear.reference(
            x_MK, weight.rows(torch.arange(weight.shape[0], device=x_MK.device)), bias_N, out_dtype
        )
    num_groups, group_size = weight.values_NGS.shape[1:]
    rounded, scale_M1 = round_rows(x_MK)
    padded = F.pad(rounded, (0, -x_MK.shape[1] % group_size))
    rounded_MGS = padded.view(len(x_MK), num_groups, group_size)
    product = scale_M1.new_zeros(len(x_MK), weight.shape[0])
    for group in range(num_groups):
        sums = rounded_MGS[:, group] @ weight.values_NGS[:, group].float().T  # exact: below 2^24
        product = product + sums * weight.scale_NG[:, group].float()
    product = product * scale_M1
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


linear_int4 = Op("linear_int4", reference, cases, prepare_reference=Int4Weight)
