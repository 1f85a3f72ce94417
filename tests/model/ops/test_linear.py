"""A row of linear has the same bits however many rows come with it, and wherever it stands."""

from __future__ import annotations

import pytest
import torch

from quire.model.kernels.cpu import native
from quire.model.ops import layer_norm, linear, rms_norm

ROW_COUNTS = (1, 2, 3, 5, 7, 8, 9, 13, 16, 31, 33, 64, 100)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(("inner", "outer"), [(64, 160), (96, 64), (256, 768), (33, 17), (1024, 512)])
@pytest.mark.parametrize("threads", [1, 2])
def test_rows_do_not_see_each_other(dtype: torch.dtype, inner: int, outer: int, threads: int) -> None:
    torch.manual_seed(inner)
    torch.set_num_threads(threads)
    native.set_threads(threads)
    rows = torch.randn(max(ROW_COUNTS), inner).to(dtype)
    weight, bias = torch.randn(outer, inner).to(dtype), torch.randn(outer).to(dtype)
    try:
        whole = linear(rows, weight, bias)
        for count in ROW_COUNTS:
            assert torch.equal(linear(rows[:count], weight, bias), whole[:count])
            order = torch.randperm(count)
            assert torch.equal(linear(rows[order], weight, bias), whole[order])
    finally:
        torch.set_num_threads(1)
        native.set_threads(1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("width", [16, 64, 100, 1024, 5000])
def test_norms_do_not_see_other_rows(dtype: torch.dtype, width: int) -> None:
    torch.manual_seed(width)
    rows = torch.randn(67, width).to(dtype)
    weight, bias = torch.randn(width).to(dtype), torch.randn(width).to(dtype)
    for norm in (
        lambda x: rms_norm(x, weight, 1e-6),
        lambda x: rms_norm(x, weight, 1e-6, 1.0),
        lambda x: layer_norm(x, weight, bias, 1e-5),
    ):
        whole = norm(rows)
        for count in (1, 2, 3, 8, 17, 64):
            assert torch.equal(norm(rows[:count]), whole[:count])
