"""linear: x @ weight.T + bias, each row in the same bits however many rows there are.

Matrix libraries pick their kernel, and with it the order of additions, by the number of rows. Measured on torch
2.13: MKL's float32 gemm has other kernels below 8 rows on AMD and below 16 or 128 on Intel; oneDNN's bfloat16 gemm
changes at 33 rows and again at 272 on a CPU with AMX. So the reference always multiplies the same number of rows.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from quire.model.kernels import Prepared
from quire.model.ops.contract import Case, Op

ROW_TILE = 32


def reference(
    x_MK: Tensor,
    weight_NK: Tensor | Prepared,
    bias_N: Tensor | None = None,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    """(M, K) x (N, K) → (M, N), in the inputs' dtype, or in float32 as `out_dtype`: then never rounded to the inputs'.
    The weight is a tensor here; a provider reads its own."""
    assert isinstance(weight_NK, Tensor), "this weight was prepared for another provider"
    if out_dtype is not None and out_dtype is not x_MK.dtype:
        x_MK, weight_NK = x_MK.to(out_dtype), weight_NK.to(out_dtype)
        bias_N = None if bias_N is None else bias_N.to(out_dtype)
    num_rows = x_MK.shape[0]
    tiles = torch.split(F.pad(x_MK, (0, 0, 0, -num_rows % ROW_TILE)), ROW_TILE)
    return torch.cat([F.linear(tile, weight_NK, bias_N) for tile in tiles])[:num_rows]


def cases(seed: int, dtype: torch.dtype) -> Iterator[Case]:
    generator = torch.Generator().manual_seed(seed)
    for rows, inner, outer, has_bias in ((1, 64, 48, False), (7, 33, 17, True), (64, 256, 160, True)):
        yield {
            "x_MK": torch.randn(rows, inner, generator=generator).to(dtype),
            "weight_NK": (torch.randn(outer, inner, generator=generator) * inner**-0.5).to(dtype),
            "bias_N": torch.randn(outer, generator=generator).to(dtype) if has_bias else None,
            "out_dtype": torch.float32 if rows == 7 else None,
        }


linear = Op("linear", reference, cases)
