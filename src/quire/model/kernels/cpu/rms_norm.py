"""rms_norm on the CPU."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from quire.model.kernels.cpu import native

supported = native.refusal
variant = native.chosen


class _RmsNormCall(native.Call):
    op = "rms_norm"
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("x", "weight", "out")),
        *((name, ctypes.c_int64) for name in ("inner", "width", "row_stride")),
        ("eps", ctypes.c_float),
        ("offset", ctypes.c_float),
        ("dtype", ctypes.c_int32),
    ]


def run(x: Tensor, weight_H: Tensor, eps: float, offset: float = 0.0) -> Tensor:
    width = x.shape[-1]
    if weight_H.shape != (width,) or weight_H.dtype is not x.dtype or not weight_H.is_contiguous():
        raise TypeError(
            f"rms_norm: weight {tuple(weight_H.shape)} of {weight_H.dtype} for rows of {width} {x.dtype}"
        )
    if x.dim() == 3 and x.stride(2) == 1 and x.stride(1) == width:  # heads of a strided projection
        rows, inner, row_stride = x.shape[0], x.shape[1], x.stride(0)
    else:
        x = x.contiguous()
        rows, inner, row_stride = x.numel() // max(width, 1), 1, width
    out = torch.empty(x.shape, dtype=x.dtype)
    addresses = x.data_ptr(), weight_H.data_ptr(), out.data_ptr()
    native.call(_RmsNormCall(rows, *addresses, inner, width, row_stride, eps, offset, native.DTYPES[x.dtype]))
    return out
