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


def run(
    key_TKH: Tensor,
    value_TKH: Tensor,
    slots_T: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    key_scales: Tensor | None = None,
    value_scales: Tensor | None = None,
) -> None:
    written = (key_cache, value_cache, key_scales, value_scales)
    if not is_plain(key_TKH, value_TKH, slots_T, *written):
        return ops.kv_write.reference(key_TKH, value_TKH, slots_T, *written)
    key_TKH, value_TKH = rows_in_one_piece(key_TKH), rows_in_one_piece(value_TKH)
    native.call(KvWriteCall(*kv_write_arguments(key_TKH, value_TKH, slots_T, *written)))
    return None


def is_plain(key_TKH: Tensor, value_TKH: Tensor, slots_T: Tensor, *written: Tensor | None) -> bool:
    """Whether types and layouts are those that the library handles."""
    key_cache, value_cache, *_ = written
    return (
        key_TKH.dtype is value_TKH.dtype
        and key_cache is not None
        and value_cache is not None
        and key_cache.dtype is value_cache.dtype
        and all(x is None or x.is_contiguous() for x in (slots_T, *written))
        and slots_T.dtype is torch.int64
    )


def kv_write_arguments(
    key_TKH: Tensor,
    value_TKH: Tensor,
    slots_T: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    *scales: Tensor | None,
) -> tuple[Any, ...]:
    """The fields of a KvWriteCall; rows must be in one piece. Raises TypeError for what does not fit together."""
    tokens, heads, head_dim = key_TKH.shape
    if value_TKH.shape != key_TKH.shape or key_cache.shape != value_cache.shape or len(slots_T) != tokens:
        raise TypeError(
            f"kv_write: keys {tuple(key_TKH.shape)}, values {tuple(value_TKH.shape)}, {len(slots_T)} slots"
        )
    if key_cache.shape[2:] != (heads, head_dim):
        raise TypeError(f"kv_write: keys {tuple(key_TKH.shape)} for a cache of {tuple(key_cache.shape)}")
    ops.check_scales(key_cache, *scales)
    return (
        tokens,
        *map(native.address, (key_TKH, value_TKH, slots_T, key_cache, value_cache, *scales)),
        heads,
        head_dim,
        key_TKH.stride(0),
        value_TKH.stride(0),
        native.DTYPES[key_TKH.dtype],
        native.CACHE_DTYPES[key_cache.dtype],
    )


def rows_in_one_piece(x_TKH: Tensor) -> Tensor:
    return x_TKH if x_TKH.stride(2) == 1 and x_TKH.stride(1) == x_TKH.shape[2] else x_TKH.contiguous()
