"""linear_int8 on the CPU: weights of 8 bits in panels of 32 outputs, exact sums for every number of rows."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from quire.model.kernels.cpu import native
from quire.model.kernels.cpu.linear import check_call, new_result
from quire.model.kernels.cpu.packed import Packed, RowsCall, padded_outputs, panel_steps
from quire.model.kernels.prepared import Prepared

K_GROUP = 4  # inputs that lie side by side
SUFFIX_BYTES = 8  # per output, after the panels: its scale and 128 times the sum of its weights
supported = native.refusal
variant = native.chosen


class _LinearInt8(ctypes.Structure):
    """QuireLinearInt8 of native/api.h."""

    _fields_ = [
        ("packed", ctypes.c_void_p),
        ("scales", ctypes.c_void_p),
        ("offsets", ctypes.c_void_p),
        ("outputs", ctypes.c_int64),
        ("inputs", ctypes.c_int64),
    ]


class _LinearInt8Call(native.Call):
    op = "linear_int8"
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("weight", "x", "bias", "out")),
        ("x_stride", ctypes.c_int64),
        ("dtype", ctypes.c_int32),
        ("out_is_float", ctypes.c_int32),
    ]


class _RowsInt8Call(RowsCall):
    op = "linear_int8_rows"


class PackedInt8Weight(Packed):
    """A weight (N, K) rounded to 8 bits, in the panels of native/linear_int8.h."""

    rows_call = _RowsInt8Call

    @staticmethod
    def size_bytes(shape: torch.Size, dtype: torch.dtype, *form: int) -> int:
        return _panels_bytes(shape) + padded_outputs(shape[0]) * SUFFIX_BYTES

    def describe(self, start: int) -> ctypes.Structure:
        scales = start + _panels_bytes(self.shape)
        return _LinearInt8(start, scales, scales + 4 * padded_outputs(self.shape[0]), *self.shape)

    def fill(self, weight_NK: Tensor) -> None:
        where = weight_NK.data_ptr(), weight_NK.stride(0)
        native.library().quire_linear_int8_pack(self.address, native.DTYPES[self.dtype], *where)


def _panels_bytes(shape: torch.Size) -> int:
    return padded_outputs(shape[0]) * panel_steps(shape[1], K_GROUP) * K_GROUP


def prepare(weight_NK: Tensor) -> Prepared:
    return PackedInt8Weight(weight_NK)


def run(
    x_MK: Tensor,
    weight_NK: Tensor | Prepared,
    bias_N: Tensor | None = None,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    if isinstance(weight_NK, Tensor):
        weight_NK = PackedInt8Weight(weight_NK)
    assert isinstance(weight_NK, PackedInt8Weight), "this weight was prepared for another provider"
    x_MK, bias_address = check_call(x_MK, weight_NK, bias_N)
    out_MN = new_result(x_MK, weight_NK.shape[0], out_dtype)
    native.call(
        _LinearInt8Call(
            len(x_MK),
            weight_NK.address,
            x_MK.data_ptr(),
            bias_address,
            out_MN.data_ptr(),
            x_MK.stride(0),
            native.DTYPES[x_MK.dtype],
            out_MN.dtype is torch.float32,
        )
    )
    return out_MN
