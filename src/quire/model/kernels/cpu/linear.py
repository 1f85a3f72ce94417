"""linear on the CPU: weights in panels of 32 outputs, one accumulation order for every number of rows."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from quire.model.kernels.cpu import native
from quire.model.kernels.cpu.packed import Packed, RowsCall, padded_outputs, panel_steps
from quire.model.kernels.prepared import Prepared

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


class _LinearCall(native.Call):
    op = "linear"
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("weight", "x", "bias", "out")),
        ("x_stride", ctypes.c_int64),
        ("out_is_float", ctypes.c_int32),
    ]


class PackedWeight(Packed):
    """A weight (N, K) in the panels of native/linear.h. The layout is the same for every instruction set."""

    rows_call = RowsCall

    @staticmethod
    def size_bytes(shape: torch.Size, dtype: torch.dtype, *form: int) -> int:
        group = K_GROUP[dtype]
        return padded_outputs(shape[0]) * panel_steps(shape[1], group) * group * dtype.itemsize

    def describe(self, start: int) -> ctypes.Structure:
        return _Linear(start, *self.shape, native.DTYPES[self.dtype])

    def fill(self, weight_NK: Tensor) -> None:
        native.library().quire_linear_pack(self.address, weight_NK.data_ptr(), weight_NK.stride(0))


def check_call(x_MK: Tensor, weight: Prepared, bias_N: Tensor | None) -> tuple[Tensor, int | None]:
    """The inputs with rows in one piece, and the bias's address. Raises TypeError for what does not fit."""
    outputs, inputs = weight.shape
    if x_MK.dim() != 2 or x_MK.shape[1] != inputs or x_MK.dtype is not weight.dtype:
        raise TypeError(
            f"linear: inputs {tuple(x_MK.shape)} of {x_MK.dtype} for weight {tuple(weight.shape)} of {weight.dtype}"
        )
    if x_MK.stride(1) != 1:
        x_MK = x_MK.contiguous()
    if bias_N is None:
        return x_MK, None
    if bias_N.shape != (outputs,) or bias_N.dtype is not weight.dtype or not bias_N.is_contiguous():
        raise TypeError(f"linear: bias {tuple(bias_N.shape)} of {bias_N.dtype} for {outputs} outputs")
    return x_MK, bias_N.data_ptr()


def prepare(weight_NK: Tensor) -> Prepared:
    return PackedWeight(weight_NK)


def new_result(x_MK: Tensor, outputs: int, out_dtype: torch.dtype | None) -> Tensor:
    """(M, outputs) for a provider to fill. Raises TypeError for a type other than the inputs' and float32."""
    if out_dtype not in (None, x_MK.dtype, torch.float32):
        raise TypeError(f"linear: results in {x_MK.dtype} or torch.float32, not {out_dtype}")
    return torch.empty((len(x_MK), outputs), dtype=out_dtype or x_MK.dtype)


def run(
    x_MK: Tensor,
    weight_NK: Tensor | Prepared,
    bias_N: Tensor | None = None,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    if isinstance(weight_NK, Tensor):
        weight_NK = PackedWeight(weight_NK)
    assert isinstance(weight_NK, PackedWeight), "this weight was prepared for another provider"
    x_MK, bias_address = check_call(x_MK, weight_NK, bias_N)
    out_MN = new_result(x_MK, weight_NK.shape[0], out_dtype)
    native.call(
        _LinearCall(
            len(x_MK),
            weight_NK.address,
            x_MK.data_ptr(),
            bias_address,
            out_MN.data_ptr(),
            x_MK.stride(0),
            out_MN.dtype is torch.float32,
        )
    )
    return out_MN
