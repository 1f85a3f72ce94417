"""choose_experts on the CPU."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from quire.model.kernels.cpu import native

SCORINGS = ("softmax", "sigmoid")
supported = native.refusal
variant = native.chosen


class _ChooseExpertsCall(native.Call):
    op = "choose_experts"
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("logits", "weights", "experts")),
        *((name, ctypes.c_int64) for name in ("num_experts", "count")),
        *((name, ctypes.c_int32) for name in ("is_sigmoid", "renormalises")),
    ]


def run(
    logits_TE: Tensor, count: int, scoring: str = "softmax", renormalises: bool = False
) -> tuple[Tensor, Tensor]:
    logits_TE = logits_TE.contiguous()
    rows, num_experts = logits_TE.shape
    if logits_TE.dtype is not torch.float32 or not 1 <= count <= num_experts:
        raise TypeError(f"choose_experts: {count} of {num_experts} experts by logits of {logits_TE.dtype}")
    weights_TC = torch.empty((rows, count), dtype=torch.float32)
    experts_TC = torch.empty((rows, count), dtype=torch.int64)
    addresses = logits_TE.data_ptr(), weights_TC.data_ptr(), experts_TC.data_ptr()
    is_sigmoid = SCORINGS.index(scoring)
    native.call(_ChooseExpertsCall(rows, *addresses, num_experts, count, is_sigmoid, renormalises))
    return weights_TC, experts_TC
