"""penalise on the CPU: a row of float32 logits, one token after the other."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from quire.model import ops
from quire.model.kernels.cpu import native

supported = native.refusal
variant = native.chosen


class _PenaliseCall(native.Call):
    op = "penalise"
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("ids", "counts")),
        *((name, ctypes.c_int64) for name in ("count", "width")),
        ("logits", ctypes.c_void_p),
        *((name, ctypes.c_float) for name in ("repetition", "frequency", "presence")),
    ]


def run(
    row_V: Tensor, ids_N: Tensor, counts_N: Tensor, repetition: float, frequency: float, presence: float
) -> Tensor:
    amounts = repetition, frequency, presence
    if row_V.dtype is not torch.float32 or not row_V.is_contiguous():
        return ops.penalise.reference(row_V, ids_N, counts_N, *amounts)
    is_sound = (
        ids_N.dtype is torch.int64 and counts_N.dtype is torch.float32 and ids_N.shape == counts_N.shape
    )
    if not is_sound or not ids_N.is_contiguous() or not counts_N.is_contiguous():
        raise TypeError(
            f"penalise: ids {tuple(ids_N.shape)} of {ids_N.dtype}, counts {tuple(counts_N.shape)} of {counts_N.dtype}"
        )
    addresses = ids_N.data_ptr(), counts_N.data_ptr()
    native.call(_PenaliseCall(1, *addresses, len(ids_N), len(row_V), row_V.data_ptr(), *amounts))
    return row_V
