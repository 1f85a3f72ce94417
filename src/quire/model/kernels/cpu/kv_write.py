"""kv_write on the CPU: rows copied to their slots, a token's heads in one piece."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from quire.model import ops
from quire.model.kernels.cpu import native

supported = native.refusal
variant = native.chosen


class _KvWriteCall(native.Call):
    op = "kv_write"
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("key", "value", "slots", "key_cache", "value_cache")),
        *((name, ctypes.c_int64) for name in ("bytes", "key_stride_bytes", "value_stride_bytes")),
    ]


def run(key_TKH: Tensor, value_TKH: Tensor, slots_T: Tensor, key_cache: Tensor, value_cache: Tensor) -> None:
    tokens, heads, head_dim = key_TKH.shape
    is_plain = (
        key_TKH.dtype is value_TKH.dtype is key_cache.dtype is value_cache.dtype
        and key_cache.is_contiguous()
        and value_cache.is_contiguous()
        and slots_T.dtype is torch.int64
        and slots_T.is_contiguous()
    )
    if not is_plain:
        return ops.kv_write.reference(key_TKH, value_TKH, slots_T, key_cache, value_cache)
    if value_TKH.shape != key_TKH.shape or key_cache.shape != value_cache.shape or len(slots_T) != tokens:
        raise TypeError(
            f"kv_write: keys {tuple(key_TKH.shape)}, values {tuple(value_TKH.shape)}, {len(slots_T)} slots"
        )
    if key_cache.shape[2:] != (heads, head_dim):
        raise TypeError(f"kv_write: keys {tuple(key_TKH.shape)} for a cache of {tuple(key_cache.shape)}")
    key_TKH, value_TKH = _rows_in_one_piece(key_TKH), _rows_in_one_piece(value_TKH)
    item_bytes = key_TKH.element_size()
    parts = key_TKH, value_TKH, slots_T, key_cache, value_cache
    native.call(
        _KvWriteCall(
            tokens,
            *(part.data_ptr() for part in parts),
            heads * head_dim * item_bytes,
            key_TKH.stride(0) * item_bytes,
            value_TKH.stride(0) * item_bytes,
        )
    )
    return None


def _rows_in_one_piece(x_TKH: Tensor) -> Tensor:
    return x_TKH if x_TKH.stride(2) == 1 and x_TKH.stride(1) == x_TKH.shape[2] else x_TKH.contiguous()
