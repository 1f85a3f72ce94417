"""linear: x @ weight.T + bias, each row in the same bits however many rows there are.

Matrix libraries pick another kernel, and another order of additions, for very few rows. Measured on torch
2.13: MKL's float32 gemm gives other bits for 1 to 7 rows and the same for every multiple of 8, whatever the
row's place and the number of threads; oneDNN's bfloat16 and float16 gemm gives the same for every row count.
So rows are padded to a multiple of 8 wherever oneDNN's low-precision gemm is not the one that runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from quire.model.kernels import Prepared
from quire.model.ops.contract import Case, Op

ROW_TILE = 8


@cache
def row_tile(dtype: torch.dtype) -> int:
    """Rows must come in multiples of this for row results not to depend on the row count."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return ROW_TILE
    if dtype is torch.bfloat16:
        return 1 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else ROW_TILE
    if dtype is torch.float16:
        return 1 if torch.ops.mkldnn._is_mkldnn_fp16_supported() else ROW_TILE
    return ROW_TILE


def reference(x_MK: Tensor, weight_NK: Tensor | Prepared, bias_N: Tensor | None = None) -> Tensor:
    """(M, K) x (N, K) → (M, N), in the inputs' dtype. The weight is a tensor here; a provider reads its own."""
    assert isinstance(weight_NK, Tensor), "this weight was prepared for another provider"
    num_rows = x_MK.shape[0]
    missing = -num_rows % row_tile(x_MK.dtype)
    if missing:
        return F.linear(F.pad(x_MK, (0, 0, 0, missing)), weight_NK, bias_N)[:num_rows]
    return F.linear(x_MK, weight_NK, bias_N)


def cases(seed: int, dtype: torch.dtype) -> Iterator[Case]:
    generator = torch.Generator().manual_seed(seed)
    for rows, inner, outer, has_bias in ((1, 64, 48, False), (7, 33, 17, True), (64, 256, 160, True)):
        yield {
            "x_MK": torch.randn(rows, inner, generator=generator).to(dtype),
            "weight_NK": (torch.randn(outer, inner, generator=generator) * inner**-0.5).to(dtype),
            "bias_N": torch.randn(outer, generator=generator).to(dtype) if has_bias else None,
        }


linear = Op("linear", reference, cases)
