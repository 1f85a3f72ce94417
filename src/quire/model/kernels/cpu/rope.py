"""rope on the CPU."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from quire.model.kernels.cpu import native

supported = native.refusal
variant = native.chosen


class _RopeCall(native.Call):
    op = "rope"
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("x", "cos", "sin", "out")),
        *((name, ctypes.c_int64) for name in ("heads", "head_dim", "half", "token_stride")),
        ("dtype", ctypes.c_int32),
    ]


def run(x_TNH: Tensor, cos_TR: Tensor, sin_TR: Tensor) -> Tensor:
    tokens, heads, head_dim = x_TNH.shape
    half = cos_TR.shape[-1]
    if cos_TR.shape != (tokens, half) or sin_TR.shape != cos_TR.shape or 2 * half > head_dim:
        raise TypeError(f"rope: angles {tuple(cos_TR.shape)} for queries or keys {tuple(x_TNH.shape)}")
    if x_TNH.stride(2) != 1 or x_TNH.stride(1) != head_dim:
        x_TNH = x_TNH.contiguous()
    cos_TR, sin_TR = (angle_TR.to(x_TNH.dtype).contiguous() for angle_TR in (cos_TR, sin_TR))
    out_TNH = torch.empty((tokens, heads, head_dim), dtype=x_TNH.dtype)
    addresses = x_TNH.data_ptr(), cos_TR.data_ptr(), sin_TR.data_ptr(), out_TNH.data_ptr()
    sizes = heads, head_dim, half, x_TNH.stride(0)
    native.call(_RopeCall(tokens, *addresses, *sizes, native.DTYPES[x_TNH.dtype]))
    return out_TNH
