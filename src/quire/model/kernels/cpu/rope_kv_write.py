"""rope_kv_write on the CPU: a head goes through norm, turn and writing while it is in the nearest cache."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from quire.model import ops
from quire.model.kernels.cpu import native
from quire.model.kernels.cpu.kv_write import KvWriteCall, is_plain, kv_write_arguments, rows_in_one_piece

MAX_HEAD_DIM = 512  # of native/rope_kv_write.h
supported = native.refusal
variant = native.chosen


class _RopeKvWriteCall(KvWriteCall):
    op = "rope_kv_write"
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("query", "cos", "sin", "query_norm", "key_norm", "out")),
        *((name, ctypes.c_int64) for name in ("heads_of_query", "half", "query_stride")),
        ("eps", ctypes.c_float),
        ("offset", ctypes.c_float),
    ]


def run(
    query_TNH: Tensor,
    key_TKH: Tensor,
    value_TKH: Tensor,
    cos_TR: Tensor,
    sin_TR: Tensor,
    slots_T: Tensor,
    cache: ops.LayerKV,
    *,
    norms: ops.HeadNorms | None = None,
) -> Tensor:
    tokens, heads, head_dim = query_TNH.shape
    dtype, half = query_TNH.dtype, cos_TR.shape[-1]
    if cos_TR.shape != (tokens, half) or sin_TR.shape != cos_TR.shape or 2 * half > head_dim:
        raise TypeError(f"rope_kv_write: angles {tuple(cos_TR.shape)} for queries {tuple(query_TNH.shape)}")
    if not is_plain(key_TKH, value_TKH, slots_T, cache) or head_dim > MAX_HEAD_DIM:
        return ops.rope_kv_write.reference(
            query_TNH, key_TKH, value_TKH, cos_TR, sin_TR, slots_T, cache, norms=norms
        )
    query_TNH, key_TKH, value_TKH = map(rows_in_one_piece, (query_TNH, key_TKH, value_TKH))
    cos_TR, sin_TR = (angle_TR.to(dtype).contiguous() for angle_TR in (cos_TR, sin_TR))
    weights = (None, None) if norms is None else (norms.query_H, norms.key_H)
    if any(weight is not None and (weight.dtype, weight.shape) != (dtype, (head_dim,)) for weight in weights):
        raise TypeError(f"rope_kv_write: norms that are not {dtype} of {head_dim}")
    if key_TKH.dtype is not dtype or key_TKH.shape[2] != head_dim:
        raise TypeError(
            f"rope_kv_write: keys {tuple(key_TKH.shape)} of {key_TKH.dtype} for {dtype} of {head_dim}"
        )
    out_TNH = torch.empty((tokens, heads, head_dim), dtype=dtype)
    native.call(
        _RopeKvWriteCall(
            *kv_write_arguments(key_TKH, value_TKH, slots_T, cache),
            *map(native.address, (query_TNH, cos_TR, sin_TR, *weights, out_TNH)),
            heads,
            half,
            query_TNH.stride(0),
            0.0 if norms is None else norms.eps,
            0.0 if norms is None else norms.offset,
        )
    )
    return out_TNH
