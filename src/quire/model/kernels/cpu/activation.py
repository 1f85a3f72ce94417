"""activation on the CPU."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from quire.model.kernels.cpu import native

KINDS = {
    "silu": 0,
    "swish": 0,
    "gelu_new": 1,
    "gelu_fast": 1,
    "gelu_pytorch_tanh": 1,
    "relu": 2,
    "gelu": 3,
    "tanh": 4,
}
supported = native.refusal
variant = native.chosen


class _ActivationCall(native.Call):
    op = "activation"
    _fields_ = [
        ("x", ctypes.c_void_p),
        ("out", ctypes.c_void_p),
        ("width", ctypes.c_int64),
        *((name, ctypes.c_int32) for name in ("kind", "gated", "dtype")),
    ]


def run(x_TI: Tensor, kind: str, gated: bool = False) -> Tensor:
    x_TI = x_TI.contiguous()
    rows, width = x_TI.shape
    if gated:
        width //= 2
    out_TI = torch.empty((rows, width), dtype=x_TI.dtype)
    dtype = native.DTYPES[x_TI.dtype]
    native.call(_ActivationCall(rows, x_TI.data_ptr(), out_TI.data_ptr(), width, KINDS[kind], gated, dtype))
    return out_TI
