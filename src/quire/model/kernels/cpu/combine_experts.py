"""combine_experts on the CPU."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from quire.model.kernels.cpu import native

supported = native.refusal
variant = native.chosen


class _CombineExpertsCall(native.Call):
    op = "combine_experts"
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("x", "weights", "out")),
        *((name, ctypes.c_int64) for name in ("count", "width")),
        ("dtype", ctypes.c_int32),
    ]


def run(x_RN: Tensor, weights_TC: Tensor) -> Tensor:
    x_RN, weights_TC = x_RN.contiguous(), weights_TC.contiguous()
    (tokens, count), (rows, width) = weights_TC.shape, x_RN.shape
    if rows != tokens * count or weights_TC.dtype is not torch.float32:
        raise TypeError(
            f"combine_experts: {rows} rows for weights {tuple(weights_TC.shape)} of {weights_TC.dtype}"
        )
    out_TN = torch.empty((tokens, width), dtype=x_RN.dtype)
    addresses = x_RN.data_ptr(), weights_TC.data_ptr(), out_TN.data_ptr()
    native.call(_CombineExpertsCall(tokens, *addresses, count, width, native.DTYPES[x_RN.dtype]))
    return out_TN
