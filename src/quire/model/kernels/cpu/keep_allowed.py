"""keep_allowed on the CPU: rows of float32 logits, 32 tokens at a time."""

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


def run(logits_rV: Tensor, words_rW: Tensor) -> Tensor:
    if logits_rV.dtype is not torch.float32 or not logits_rV.is_contiguous():
        return ops.keep_allowed.reference(logits_rV, words_rW)
    (rows, size), (num_masks, num_words) = logits_rV.shape, words_rW.shape
    is_sound = words_rW.dtype is torch.int32 and words_rW.is_contiguous()
    if not is_sound or num_masks != rows or 32 * num_words < size:
        raise TypeError(
            f"keep_allowed: {num_masks} x {num_words} words of {words_rW.dtype} for {rows} rows of {size} tokens"
        )
    words, logits = words_rW.data_ptr(), logits_rV.data_ptr()
    if 32 * num_words == size:  # rows follow one another in both: one long row
        native.call(_KeepAllowedCall(1, words, rows * size, logits))
        return logits_rV
    for row in range(rows):
        native.call(_KeepAllowedCall(1, words + 4 * row * num_words, size, logits + 4 * row * size))
    return logits_rV
