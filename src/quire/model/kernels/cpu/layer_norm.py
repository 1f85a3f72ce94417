"""layer_norm on the CPU."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from quire.model.kernels.cpu import native

supported = native.refusal
variant = native.chosen


class _LayerNormCall(native.Call):
    op = "layer_norm"
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("x", "weight", "bias", "out")),
        ("width", ctypes.c_int64),
        ("eps", ctypes.c_float),
        ("dtype", ctypes.c_int32),
    ]


def run(x: Tensor, weight_H: Tensor, bias_H: Tensor | None, eps: float) -> Tensor:
    width = x.shape[-1]
    for part in (weight_H,) if bias_H is None else (weight_H, bias_H):
        if part.shape != (width,) or part.dtype is not x.dtype or not part.is_contiguous():
            raise TypeError(
                f"layer_norm: weight or bias {tuple(part.shape)} of {part.dtype} for rows of {width} {x.dtype}"
            )
    x = x.contiguous()
    out = torch.empty(x.shape, dtype=x.dtype)
    bias_address = None if bias_H is None else bias_H.data_ptr()
    addresses = x.data_ptr(), weight_H.data_ptr(), bias_address, out.data_ptr()
    native.call(_LayerNormCall(x.numel() // max(width, 1), *addresses, width, eps, native.DTYPES[x.dtype]))
    return out
