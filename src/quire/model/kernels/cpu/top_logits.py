"""top_logits on the CPU: strips of panels multiplied as linear does; only the highest of each row are kept."""

from __future__ import annotations

import ctypes
from typing import ClassVar

import torch
from torch import Tensor

from quire.model.kernels.cpu import native
from quire.model.kernels.cpu.linear import PackedWeight, check_call
from quire.model.kernels.cpu.linear_int8 import PackedInt8Weight
from quire.model.kernels.prepared import Prepared

supported = native.refusal
variant = native.chosen


class _LinearTopCall(native.Call):
    """QuireLinearTopCall of native/api.h."""

    op: ClassVar[str] = "linear_top"
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("weight", "x", "bias", "values", "indices")),
        *((name, ctypes.c_int64) for name in ("x_stride", "count")),
        ("dtype", ctypes.c_int32),
    ]


class _LinearInt8TopCall(_LinearTopCall):
    op = "linear_int8_top"


_INSTEAD = {"linear": _LinearTopCall, "linear_int8": _LinearInt8TopCall}


def instead_of(linear: native.Call, values_M: Tensor, outputs_M: Tensor) -> native.Call | None:
    """A call that writes the highest of each row's results, and the lowest output that has it, where `linear` writes
    all of them in float32; None where it is no call that does."""
    call = _INSTEAD.get(linear.op)
    if call is None or not linear.out_is_float:
        return None
    addresses = linear.weight, linear.x, linear.bias, values_M.data_ptr(), outputs_M.data_ptr()
    return call(linear.rows, *addresses, linear.x_stride, 1, getattr(linear, "dtype", 0))


def run(
    x_MK: Tensor, weight_NK: Tensor | Prepared, bias_N: Tensor | None = None, count: int = 1
) -> tuple[Tensor, Tensor]:
    if isinstance(weight_NK, Tensor):
        weight_NK = PackedWeight(weight_NK)
    if isinstance(weight_NK, PackedInt8Weight):
        call: type[_LinearTopCall] = _LinearInt8TopCall
    else:
        assert isinstance(weight_NK, PackedWeight), "this weight was prepared for another provider"
        call = _LinearTopCall
    x_MK, bias_address = check_call(x_MK, weight_NK, bias_N)
    if not 1 <= count <= weight_NK.shape[0]:
        raise ValueError(f"top_logits: count is 1 to {weight_NK.shape[0]} outputs, not {count}")
    values_MC = torch.empty((len(x_MK), count), dtype=torch.float32)
    outputs_MC = torch.empty((len(x_MK), count), dtype=torch.int64)
    native.call(
        call(
            len(x_MK),
            weight_NK.address,
            x_MK.data_ptr(),
            bias_address,
            values_MC.data_ptr(),
            outputs_MC.data_ptr(),
            x_MK.stride(0),
            count,
            native.DTYPES[x_MK.dtype],
        )
    )
    return values_MC, outputs_MC
