"""rms_norm on the CPU."""

from __future__ import annotations

import torch
from torch import Tensor

from quire.model.kernels.cpu import native

supported = native.refusal
variant = native.chosen


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
    native.library().quire_rms_norm(
        native.DTYPES[x.dtype],
        x.data_ptr(),
        weight_H.data_ptr(),
        out.data_ptr(),
        rows,
        inner,
        width,
        row_stride,
        eps,
        offset,
    )
    return out
