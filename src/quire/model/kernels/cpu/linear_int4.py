"""linear_int4 on the CPU: weights of 4 bits in panels of 32 outputs, inputs rounded to 8 bits or as they are."""

from __future__ import annotations

import ctypes
from typing import Self

import torch
from torch import Tensor

from quire.model.kernels.cpu import native
from quire.model.kernels.cpu.linear import PANEL_OUTPUTS, RowsCall, check_call, new_result
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


class PackedInt4Weight(Prepared):
    """A weight (N, K) rounded to 4 bits, in the panels of native/linear_int4_pack.h."""

    def __init__(self, weight_NK: Tensor, group_size: int = 64, rounds_inputs: bool = True) -> None:
        weight_NK = weight_NK.detach()
        if weight_NK.stride(1) != 1:
            weight_NK = weight_NK.contiguous()
        num_groups, panels_bytes = _sizes(weight_NK.shape, group_size)
        packed = torch.empty(panels_bytes + num_groups * SCALE_BYTES, dtype=torch.uint8)
        self._hold(weight_NK.shape, weight_NK.dtype, packed, group_size, rounds_inputs)
        native.library().quire_linear_int4_pack(
            self.address,
            native.DTYPES[self.dtype],
            weight_NK.data_ptr(),
            weight_NK.stride(0),
            self._packed.nbytes,
        )

    def _hold(
        self, shape: torch.Size, dtype: torch.dtype, packed: Tensor, group_size: int, rounds_inputs: bool
    ) -> None:
        self.shape, self.dtype, self._packed = shape, dtype, packed
        self._group_size, self.rounds_inputs = group_size, rounds_inputs
        start = packed.data_ptr()
        self._struct = _LinearInt4(start, start + _sizes(shape, group_size)[1], *shape, group_size)
        self.address = ctypes.addressof(self._struct)

    def tensors(self) -> dict[str, Tensor]:
        return {"packed": self._packed, "form": torch.tensor([self._group_size, self.rounds_inputs])}

    @classmethod
    def restore(cls, shape: torch.Size, dtype: torch.dtype, tensors: dict[str, Tensor]) -> Self:
        weight = cls.__new__(cls)
        group_size, rounds_inputs = tensors["form"].tolist()
        weight._hold(shape, dtype, tensors["packed"], group_size, bool(rounds_inputs))
        return weight

    def rows(self, index_T: Tensor) -> Tensor:
        index_T = native.check_index(index_T, self.shape[0])
        out = torch.empty((len(index_T), self.shape[1]), dtype=self.dtype)
        dtype = native.DTYPES[self.dtype]
        native.call(_RowsInt4Call(len(index_T), self.address, index_T.data_ptr(), out.data_ptr(), dtype))
        return out


def _sizes(shape: torch.Size, group_size: int) -> tuple[int, int]:
    """(groups with those that fill the last panel, bytes of the panels)."""
    outputs, inputs = shape
    num_groups = -(-outputs // PANEL_OUTPUTS) * PANEL_OUTPUTS * -(-inputs // group_size)
    return num_groups, num_groups * group_size // 2


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
