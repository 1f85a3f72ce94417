"""kv_write on the CPU: rows brought to the cache's type on their way to their slots."""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor

from quire.model import ops
from quire.model.kernels.cpu import native

supported = native.refusal
variant = native.chosen


class KvWriteCall(native.Call):
    """QuireKvWriteCall of native/api.h."""

    op = "kv_write"
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("key", "value", "slots", "key_cache", "value_cache")),
        *((name, ctypes.c_void_p) for name in ("key_scales", "value_scales")),
        *((name, ctypes.c_int64) for name in ("heads", "head_dim", "key_stride", "value_stride")),
        ("dtype", ctypes.c_int32),
        ("cache_dtype", ctypes.c_int32),
    ]


def run(key_TKH: Tensor, value_TKH: Tensor, slots_T: Tensor, cache: ops.LayerKV) -> None:
    if not is_plain(key_TKH, value_TKH, slots_T, cache):
        return ops.kv_write.reference(key_TKH, value_TKH, slots_T, cache)
    key_TKH, value_TKH = rows_in_one_piece(key_TKH), rows_in_one_piece(value_TKH)
    native.call(KvWriteCall(*kv_write_arguments(key_TKH, value_TKH, slots_T, cache)))
    return None


def is_plain(key_TKH: Tensor, value_TKH: Tensor, slots_T: Tensor, cache: ops.LayerKV) -> bool:
    """Whether types and layouts are those that the library handles."""
    is_whole = all(x is None or x.is_contiguous() for x in (slots_T, *cache))
    return is_whole and key_TKH.dtype is value_TKH.dtype and slots_T.dtype is torch.int64


def kv_write_arguments(
    key_TKH: Tensor, value_TKH: Tensor, slots_T: Tensor, cache: ops.LayerKV
) -> tuple[Any, ...]:
    """The fields of a KvWriteCall; rows must be in one piece. Raises TypeError for what does not fit together."""
    tokens, heads, head_dim = key_TKH.shape
    if value_TKH.shape != key_TKH.shape or len(slots_T) != tokens:
        raise TypeError(
            f"kv_write: keys {tuple(key_TKH.shape)}, values {tuple(value_TKH.shape)}, {len(slots_T)} slots"
        )
    if cache.key.shape[2:] != (heads, head_dim):
        raise TypeError(f"kv_write: keys {tuple(key_TKH.shape)} for a cache of {tuple(cache.key.shape)}")
    cache.check()
    return (
        tokens,
        *map(native.address, (key_TKH, value_TKH, slots_T, *cache)),
        heads,
        head_dim,
        key_TKH.stride(0),
        value_TKH.stride(0),
        native.DTYPES[key_TKH.dtype],
        native.CACHE_DTYPES[cache.key.dtype],
    )


def rows_in_one_piece(x_TKH: Tensor) -> Tensor:
    return x_TKH if x_TKH.stride(2) == 1 and x_TKH.stride(1) == x_TKH.shape[2] else x_TKH.contiguous()
