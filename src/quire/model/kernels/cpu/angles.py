"""angles on the CPU."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from quire.model.kernels.cpu import native

supported = native.refusal
variant = native.chosen


class _AnglesCall(native.Call):
    op = "angles"
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("positions", "frequencies", "cos", "sin")),
        ("half", ctypes.c_int64),
        ("magnitude", ctypes.c_float),
        ("dtype", ctypes.c_int32),
    ]


def run(
    positions_T: Tensor, frequencies_R: Tensor, magnitude: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    if positions_T.dtype is not torch.int64 or frequencies_R.dtype is not torch.float32:
        raise TypeError(f"angles: positions of {positions_T.dtype}, frequencies of {frequencies_R.dtype}")
    positions_T, frequencies_R = positions_T.contiguous(), frequencies_R.contiguous()
    shape = len(positions_T), len(frequencies_R)
    cos_TR, sin_TR = torch.empty(shape, dtype=dtype), torch.empty(shape, dtype=dtype)
    parts = positions_T, frequencies_R, cos_TR, sin_TR
    addresses = (part.data_ptr() for part in parts)
    native.call(_AnglesCall(shape[0], *addresses, shape[1], magnitude, native.DTYPES[dtype]))
    return cos_TR, sin_TR
