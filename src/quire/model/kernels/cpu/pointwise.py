"""What add, scale and soft_cap share on the CPU: one number in, one number out."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from quire.model.kernels.cpu import native

ADD, SCALE, SOFT_CAP = range(3)  # QuirePointwise of native/api.h


class _PointwiseCall(native.Call):
    op = "pointwise"
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("x", "y", "out")),
        ("width", ctypes.c_int64),
        ("number", ctypes.c_float),
        ("kind", ctypes.c_int32),
        ("dtype", ctypes.c_int32),
    ]


def pointwise(kind: int, x: Tensor, y: Tensor | None = None, number: float = 0.0) -> Tensor:
    """Any shape; the first dimension's rows are shared out. `y` has x's shape and dtype."""
    if y is not None and (y.shape != x.shape or y.dtype is not x.dtype):
        raise TypeError(
            f"add: {tuple(x.shape)} of {x.dtype} and {tuple(y.shape)} of {y.dtype} are not of one kind"
        )
    x, y = x.contiguous(), None if y is None else y.contiguous()
    out = torch.empty(x.shape, dtype=x.dtype)
    rows = x.shape[0] if x.dim() else 1
    addresses = x.data_ptr(), None if y is None else y.data_ptr(), out.data_ptr()
    width = x.numel() // max(rows, 1)
    native.call(_PointwiseCall(rows, *addresses, width, number, kind, native.DTYPES[x.dtype]))
    return out
