"""linear on the CPU: weights in panels of 32 outputs, one accumulation order for every number of rows."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from quire.model.kernels.cpu import native
from quire.model.kernels.prepared import Prepared

PANEL_OUTPUTS = 32
K_GROUP = {torch.float32: 1, torch.bfloat16: 2, torch.float16: 1}  # inputs that lie side by side
supported = native.refusal
variant = native.chosen


class _Linear(ctypes.Structure):
    """QuireLinear of native/api.h."""

    _fields_ = [
        ("packed", ctypes.c_void_p),
        ("outputs", ctypes.c_int64),
        ("inputs", ctypes.c_int64),
        ("dtype", ctypes.c_int32),
    ]


class PackedWeight(Prepared):
    """A weight (N, K) in the panels of native/linear.h. The layout is the same for every instruction set."""

    def __init__(self, weight_NK: Tensor) -> None:
        outputs, inputs = self.shape = weight_NK.shape
        self.dtype = weight_NK.dtype
        self.outputs, self.inputs = outputs, inputs
        group = K_GROUP[self.dtype]
        steps, panels = -(-inputs // group), -(-outputs // PANEL_OUTPUTS)
        self._packed = torch.empty(panels * steps * PANEL_OUTPUTS * group, dtype=self.dtype)
        weight_NK = weight_NK.detach()
        if weight_NK.stride(1) != 1:
            weight_NK = weight_NK.contiguous()
        self._struct = _Linear(self._packed.data_ptr(), outputs, inputs, native.DTYPES[self.dtype])
        self.address = ctypes.addressof(self._struct)
        native.library().quire_linear_pack(
            self.address, weight_NK.data_ptr(), weight_NK.stride(0), self._packed.nbytes
        )

    def rows(self, index_T: Tensor) -> Tensor:
        index_T = index_T.contiguous()
        if index_T.dtype is not torch.int64 or index_T.dim() != 1:
            raise TypeError(
                f"rows are picked by a vector of int64, not {index_T.dtype} {tuple(index_T.shape)}"
            )
        if len(index_T) and not 0 <= int(index_T.min()) <= int(index_T.max()) < self.outputs:
            raise IndexError(f"row index out of the table's {self.outputs} rows")
        out = torch.empty((len(index_T), self.inputs), dtype=self.dtype)
        native.library().quire_linear_rows(self.address, index_T.data_ptr(), len(index_T), out.data_ptr())
        return out


def prepare(weight_NK: Tensor) -> Prepared | Tensor:
    """The weight packed; a type without kernels is left to the reference."""
    return PackedWeight(weight_NK) if weight_NK.dtype in K_GROUP else weight_NK


def run(x_MK: Tensor, weight_NK: Tensor | Prepared, bias_N: Tensor | None = None) -> Tensor:
    weight = weight_NK if isinstance(weight_NK, PackedWeight) else PackedWeight(weight_NK)  # type: ignore[arg-type]
    num_rows, inputs = x_MK.shape
    if inputs != weight.inputs or x_MK.dtype is not weight.dtype:
        raise TypeError(
            f"linear: inputs {inputs} of {x_MK.dtype} for weight {tuple(weight.shape)} of {weight.dtype}"
        )
    if x_MK.stride(1) != 1:
        x_MK = x_MK.contiguous()
    bias_address = None
    if bias_N is not None:
        if (
            bias_N.shape != (weight.outputs,)
            or bias_N.dtype is not weight.dtype
            or not bias_N.is_contiguous()
        ):
            raise TypeError(
                f"linear: bias {tuple(bias_N.shape)} of {bias_N.dtype} for {weight.outputs} outputs"
            )
        bias_address = bias_N.data_ptr()
    out_MN = torch.empty((num_rows, weight.outputs), dtype=weight.dtype)
    native.library().quire_linear(
        weight.address, x_MK.data_ptr(), num_rows, x_MK.stride(0), bias_address, out_MN.data_ptr()
    )
    return out_MN
