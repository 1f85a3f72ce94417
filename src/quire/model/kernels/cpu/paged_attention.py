"""paged_attention on the CPU: prefill and decode of a whole step in one call."""

from __future__ import annotations

import ctypes
import sys
from array import array
from collections.abc import Sequence
from itertools import accumulate, chain, pairwise

import torch
from torch import Tensor

from quire.model import ops
from quire.model.kernels.cpu import native

MAX_HEAD_DIM = 512  # of native/attention_rows.h
supported = native.refusal
variant = native.chosen


class _Batch(ctypes.Structure):
    """QuireBatch of native/api.h."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("query_starts", "context_lens", "table_starts", "tables")),
        ("sequences", ctypes.c_int64),
        ("block_size", ctypes.c_int64),
    ]


class _AttentionCall(native.Call):
    op = "attention"
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("batch", "query", "key_cache", "value_cache")),
        *((name, ctypes.c_void_p) for name in ("key_scales", "value_scales", "slopes", "sinks", "output")),
        *(
            (name, ctypes.c_int64)
            for name in ("query_stride", "heads", "key_heads", "head_dim", "window", "ahead")
        ),
        ("scale", ctypes.c_float),
        ("soft_cap", ctypes.c_float),
        ("dtype", ctypes.c_int32),
        ("cache_dtype", ctypes.c_int32),
    ]


class StepBatch:
    """An AttentionBatch as arrays the library reads, made once per step for all layers.

    Without tables the cache is the step itself: token t's key and value lie in block t, of one token.
    """

    def __init__(self, batch: ops.AttentionBatch) -> None:
        tables: Sequence[Sequence[int]] = batch.block_tables
        self.block_size = batch.block_size
        if not any(tables):
            tables, self.block_size = [range(*span) for span in pairwise(batch.query_starts)], 1
        lengths, blocks = [len(table) for table in tables], list(chain.from_iterable(tables))
        parts = batch.query_starts, batch.context_lens, list(accumulate(lengths, initial=0)), blocks
        self._numbers = array("i", chain.from_iterable(parts))  # int32
        begins = accumulate(map(len, parts[:-1]), initial=0)
        first, size = self._numbers.buffer_info()[0], self._numbers.itemsize
        pointers = [first + size * begin for begin in begins]
        self._struct = _Batch(*pointers, len(lengths), self.block_size)
        self.address = ctypes.addressof(self._struct)
        self.num_tokens = batch.query_starts[-1]
        self.cache_blocks = sys.maxsize  # of the smallest cache it was used with
        self.num_blocks = max(blocks, default=-1) + 1
        room = zip(lengths, batch.context_lens, strict=True)
        if any(length * self.block_size < context for length, context in room):
            raise ValueError("paged_attention: a block table is shorter than its sequence's context")

    def become(self, other: StepBatch) -> None:
        """Takes on another batch at its own address, where kept calls read it. Raises ValueError for one that has
        a block past those of a cache that this one was used with."""
        if other.num_blocks > self.cache_blocks:
            raise ValueError(f"paged_attention: the batch does not fit a cache of {self.cache_blocks} blocks")
        self._numbers = other._numbers
        ctypes.pointer(self._struct)[0] = other._struct


def run(
    query_TNH: Tensor,
    cache: ops.LayerKV,
    batch: ops.AttentionBatch,
    *,
    scale: float,
    window: int = 0,
    soft_cap: float = 0.0,
    slopes_N: Tensor | None = None,
    sinks_N: Tensor | None = None,
) -> Tensor:
    biases = (slopes_N, sinks_N)
    head_dim = cache.key.shape[-1]
    if head_dim > MAX_HEAD_DIM or not all(x is None or x.is_contiguous() for x in (*cache, *biases)):
        return ops.paged_attention.reference(
            query_TNH,
            cache,
            batch,
            scale=scale,
            window=window,
            soft_cap=soft_cap,
            slopes_N=slopes_N,
            sinks_N=sinks_N,
        )
    return attend(query_TNH, cache, batch.once(StepBatch), biases, scale, window, 0, soft_cap)


def attend(
    query_TNH: Tensor,
    cache: ops.LayerKV,
    step: StepBatch,
    biases: tuple[Tensor | None, Tensor | None],
    scale: float,
    window: int,
    ahead: int,
    soft_cap: float,
) -> Tensor:
    """The library's attention; `biases` are slopes and sinks, `ahead` the tokens after itself that each one sees."""
    head_dim = cache.key.shape[-1]
    _check(query_TNH, cache, step, biases)
    tokens, heads, _ = query_TNH.shape
    step.cache_blocks = min(step.cache_blocks, len(cache.key))
    if query_TNH.stride(2) != 1 or query_TNH.stride(1) != head_dim:
        query_TNH = query_TNH.contiguous()
    output_TNH = torch.empty((tokens, heads, head_dim), dtype=query_TNH.dtype)
    layer = _AttentionCall(
        tokens,
        step.address,
        query_TNH.data_ptr(),
        *map(native.address, (*cache, *biases)),
        output_TNH.data_ptr(),
        query_TNH.stride(0),
        heads,
        cache.key.shape[2],
        head_dim,
        window,
        ahead,
        scale,
        soft_cap,
        native.DTYPES[query_TNH.dtype],
        native.CACHE_DTYPES[cache.key.dtype],
    )
    native.call(layer)
    return output_TNH


def _check(
    query_TNH: Tensor,
    cache: ops.LayerKV,
    step: StepBatch,
    biases: tuple[Tensor | None, Tensor | None],
) -> None:
    cache.check()
    tokens, heads, head_dim = query_TNH.shape
    num_blocks, block_size, key_heads, cached_dim = cache.key.shape
    if head_dim != cached_dim or heads % key_heads:
        raise TypeError(f"paged_attention: queries {tuple(query_TNH.shape)}, cache {tuple(cache.key.shape)}")
    if any(x is not None and (x.dtype is not torch.float32 or x.shape != (heads,)) for x in biases):
        raise TypeError(f"paged_attention: slopes or sinks not float32 of {heads} heads")
    if tokens != step.num_tokens or step.num_blocks > num_blocks or block_size != step.block_size:
        raise ValueError(f"paged_attention: the batch does not fit {tokens} tokens and {num_blocks} blocks")
