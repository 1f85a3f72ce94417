"""linear_int8 on the CPU: weights of 8 bits in panels of 32 outputs, exact sums for every number of rows."""

from __future__ import annotations

import ctypes
from typing import Self

import torch
from torch import Tensor

from quire.model.kernels.cpu import native
from quire.model.kernels.cpu.linear import (
    PANEL_OUTPUTS,
    RowsCall,
    check_call,
    new_result,
    panel_steps,
)
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


class PackedInt8Weight(Prepared):
    """A weight (N, K) rounded to 8 bits, in the panels of native/linear_int8.h."""

    def __init__(self, weight_NK: Tensor) -> None:
        weight_NK = weight_NK.detach()
        if weight_NK.stride(1) != 1:
            weight_NK = weight_NK.contiguous()
        padded_outputs, panels_bytes = _sizes(weight_NK.shape)
        packed = torch.empty(panels_bytes + padded_outputs * SUFFIX_BYTES, dtype=torch.uint8)
        self._hold(weight_NK.shape, weight_NK.dtype, packed)
        native.library().quire_linear_int8_pack(
            self.address,
            native.DTYPES[self.dtype],
            weight_NK.data_ptr(),
            weight_NK.stride(0),
            self._packed.nbytes,
        )

    def _hold(self, shape: torch.Size, dtype: torch.dtype, packed: Tensor) -> None:
        self.shape, self.dtype, self._packed = shape, dtype, packed
        padded_outputs, panels_bytes = _sizes(shape)
        scales = packed.data_ptr() + panels_bytes
        self._struct = _LinearInt8(packed.data_ptr(), scales, scales + 4 * padded_outputs, *shape)
        self.address = ctypes.addressof(self._struct)

    def tensors(self) -> dict[str, Tensor]:
        return {"packed": self._packed}

    @classmethod
    def restore(cls, shape: torch.Size, dtype: torch.dtype, tensors: dict[str, Tensor]) -> Self:
        weight = cls.__new__(cls)
        weight._hold(shape, dtype, tensors["packed"])
        return weight

    def rows(self, index_T: Tensor) -> Tensor:
        index_T = native.check_index(index_T, self.shape[0])
        out = torch.empty((len(index_T), self.shape[1]), dtype=self.dtype)
        dtype = native.DTYPES[self.dtype]
        native.call(_RowsInt8Call(len(index_T), self.address, index_T.data_ptr(), out.data_ptr(), dtype))
        return out


def _sizes(shape: torch.Size) -> tuple[int, int]:
    """(outputs with those that fill the last panel, bytes of the panels)."""
    outputs, inputs = shape
    padded_outputs = -(-outputs // PANEL_OUTPUTS) * PANEL_OUTPUTS
    return padded_outputs, padded_outputs * panel_steps(inputs, K_GROUP) * K_GROUP


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
