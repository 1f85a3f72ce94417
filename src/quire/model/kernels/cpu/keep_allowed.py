"""keep_allowed on the CPU: a row of float32 logits, 32 tokens at a time."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from quire.model import ops
from quire.model.kernels.cpu import native

supported = native.refusal
variant = native.chosen


class _KeepAllowedCall(native.Call):
    op = "keep_allowed"
    _fields_ = [("words", ctypes.c_void_p), ("size", ctypes.c_int64), ("logits", ctypes.c_void_p)]


def run(logits_V: Tensor, words_W: Tensor) -> Tensor:
    if logits_V.dtype is not torch.float32 or not logits_V.is_contiguous():
        return ops.keep_allowed.reference(logits_V, words_W)
    if words_W.dtype is not torch.int32 or not words_W.is_contiguous() or 32 * len(words_W) < len(logits_V):
        raise TypeError(f"keep_allowed: {len(words_W)} words of {words_W.dtype} for {len(logits_V)} tokens")
    native.call(_KeepAllowedCall(1, words_W.data_ptr(), len(logits_V), logits_V.data_ptr()))
    return logits_V
