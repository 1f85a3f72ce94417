"""linear on the CPU: weights in panels of 32 outputs, one accumulation order for every number of rows."""

from __future__ import annotations

import ctypes
from typing import Self

import torch
from torch import Tensor

from quire.model.kernels.cpu import native
from quire.model.kernels.prepared import Prepared

PANEL_OUTPUTS = 32
TILE_STEPS = 16
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


def panel_steps(inputs: int, group: int) -> int:
    """Steps of `group` inputs in a panel, up to whole tiles where several inputs lie side by side."""
    return inputs if group == 1 else -(-inputs // (group * TILE_STEPS)) * TILE_STEPS


class _LinearCall(native.Call):
    op = "linear"
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("weight", "x", "bias", "out")),
        ("x_stride", ctypes.c_int64),
        ("out_is_float", ctypes.c_int32),
    ]


class RowsCall(native.Call):
    """QuireRowsCall of native/api.h: rows of a packed table."""

    op = "linear_rows"
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("weight", "indices", "out")),
        ("dtype", ctypes.c_int32),
    ]


class PackedWeight(Prepared):
    """A weight (N, K) in the panels of native/linear.h. The layout is the same for every instruction set."""

    def __init__(self, weight_NK: Tensor) -> None:
        weight_NK = weight_NK.detach()
        if weight_NK.stride(1) != 1:
            weight_NK = weight_NK.contiguous()
        outputs, inputs = weight_NK.shape
        group = K_GROUP[weight_NK.dtype]
        steps, panels = panel_steps(inputs, group), -(-outputs // PANEL_OUTPUTS)
        packed = torch.empty(panels * steps * PANEL_OUTPUTS * group, dtype=weight_NK.dtype)
        self._hold(weight_NK.shape, weight_NK.dtype, packed)
        native.library().quire_linear_pack(
            self.address, weight_NK.data_ptr(), weight_NK.stride(0), self._packed.nbytes
        )

    def _hold(self, shape: torch.Size, dtype: torch.dtype, packed: Tensor) -> None:
        self.shape, self.dtype, self._packed = shape, dtype, packed
        self._struct = _Linear(packed.data_ptr(), *shape, native.DTYPES[dtype])
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
        native.call(RowsCall(len(index_T), self.address, index_T.data_ptr(), out.data_ptr(), dtype))
        return out


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
