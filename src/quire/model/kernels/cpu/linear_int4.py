"""linear_int4 on the CPU: weights of 4 bits in panels of 32 outputs, inputs rounded to 8 bits or as they are."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from quire.model.kernels.cpu import native
from quire.model.kernels.cpu.linear import check_call, new_result
from quire.model.kernels.cpu.packed import Packed, RowsCall, padded_outputs
from quire.model.kernels.prepared import Prepared

SCALE_BYTES = 2
supported = native.refusal
variant = native.chosen


class _LinearInt4(ctypes.Structure):
    """QuireLinearInt4 of native/api.h."""

    _fields_ = [
        ("packed", ctypes.c_void_p),
        ("scales", ctypes.c_void_p),
        ("outputs", ctypes.c_int64),
        ("inputs", ctypes.c_int64),
        ("group_size", ctypes.c_int64),
    ]


class _LinearInt4Call(native.Call):
    op = "linear_int4"
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("weight", "x", "bias", "out")),
        ("x_stride", ctypes.c_int64),
        ("dtype", ctypes.c_int32),
        ("rounds_inputs", ctypes.c_int32),
        ("out_is_float", ctypes.c_int32),
    ]


class _RowsInt4Call(RowsCall):
    op = "linear_int4_rows"


class PackedInt4Weight(Packed):
    """A weight (N, K) rounded to 4 bits, in the panels of native/linear_int4_pack.h."""

    rows_call = _RowsInt4Call

    def __init__(self, weight_NK: Tensor, group_size: int = 64, rounds_inputs: bool = True) -> None:
        super().__init__(weight_NK, group_size, rounds_inputs)

    @property
    def rounds_inputs(self) -> bool:
        return bool(self.form[1])

    @staticmethod
    def size_bytes(shape: torch.Size, dtype: torch.dtype, *form: int) -> int:
        return _num_groups(shape, form[0]) * (form[0] // 2 + SCALE_BYTES)

    def describe(self, start: int) -> ctypes.Structure:
        group_size = self.form[0]
        scales = start + _num_groups(self.shape, group_size) * group_size // 2
        return _LinearInt4(start, scales, *self.shape, group_size)

    def fill(self, weight_NK: Tensor) -> None:
        where = weight_NK.data_ptr(), weight_NK.stride(0)
        native.library().quire_linear_int4_pack(self.address, native.DTYPES[self.dtype], *where)


def _num_groups(shape: torch.Size, group_size: int) -> int:
    """With those that fill the last panel."""
    return padded_outputs(shape[0]) * -(-shape[1] // group_size)


prepare = PackedInt4Weight


def run(
    x_MK: Tensor,
    weight_NK: Tensor | Prepared,
    bias_N: Tensor | None = None,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    if isinstance(weight_NK, Tensor):
        weight_NK = PackedInt4Weight(weight_NK)
    assert isinstance(weight_NK, PackedInt4Weight), "this weight was prepared for another provider"
    x_MK, bias_address = check_call(x_MK, weight_NK, bias_N)
    out_MN = new_result(x_MK, weight_NK.shape[0], out_dtype)
    native.call(
        _LinearInt4Call(
            len(x_MK),
            weight_NK.address,
            x_MK.data_ptr(),
            bias_address,
            out_MN.data_ptr(),
            x_MK.stride(0),
            native.DTYPES[x_MK.dtype],
            weight_NK.rounds_inputs,
            out_MN.dtype is torch.float32,
        )
    )
    return out_MN
