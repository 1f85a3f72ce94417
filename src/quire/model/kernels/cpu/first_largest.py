"""first_largest on the CPU."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from quire.model.kernels.cpu import native

supported = native.refusal
variant = native.chosen


class _FirstLargestCall(native.Call):
    op = "first_largest"
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("x", "index", "values", "places")),
        ("width", ctypes.c_int64),
        ("row_stride", ctypes.c_int64),
        ("dtype", ctypes.c_int32),
    ]


def run(values_RV: Tensor, index_r: Tensor | None = None) -> tuple[Tensor, Tensor]:
    num_rows, width = values_RV.shape
    if not width:
        raise TypeError("first_largest: rows of no numbers have no largest one")
    if values_RV.stride(1) != 1:
        values_RV = values_RV.contiguous()
    if index_r is not None:
        index_r = native.check_index(index_r, num_rows)
        num_rows = len(index_r)
    value_r, place_r = torch.empty(num_rows), torch.empty(num_rows, dtype=torch.int64)
    addresses = [native.address(part) for part in (values_RV, index_r, value_r, place_r)]
    dtype = native.DTYPES[values_RV.dtype]
    native.call(_FirstLargestCall(num_rows, *addresses, width, values_RV.stride(0), dtype))
    return value_r.to(values_RV.dtype), place_r
