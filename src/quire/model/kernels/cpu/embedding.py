"""embedding on the CPU: whole rows copied."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from quire.model.kernels.cpu import native

supported = native.refusal
variant = native.chosen


class _EmbeddingCall(native.Call):
    op = "embedding"
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("table", "indices", "out")),
        ("bytes", ctypes.c_int64),
        ("first", ctypes.c_int64),
    ]


def run(table_VD: Tensor, index_T: Tensor, first: int = 0) -> Tensor:
    num_rows, width = table_VD.shape
    index_T = native.check_index(index_T, num_rows - first)
    table_VD = table_VD.contiguous()
    out_TD = torch.empty((len(index_T), width), dtype=table_VD.dtype)
    addresses = table_VD.data_ptr(), index_T.data_ptr(), out_TD.data_ptr()
    native.call(_EmbeddingCall(len(index_T), *addresses, width * table_VD.element_size(), first))
    return out_TD
