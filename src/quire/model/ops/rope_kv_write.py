"""rope_kv_write: makes a step's heads ready for attention: norm of query and key heads where the family has one,
turn by the position, keys and values to their slots of the cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from quire.model.ops.contract import Case, Op
from quire.model.ops.kv_write import LayerKV, kv_write
from quire.model.ops.rms_norm import rms_norm
from quire.model.ops.rope import rope


class HeadNorms(NamedTuple):
    """RMS norms over each query and each key head, weights (H)."""

    query_H: Tensor
    key_H: Tensor
    eps: float
    offset: float = 0.0


def reference(
    query_TNH: Tensor,
    key_TKH: Tensor,
    value_TKH: Tensor,
    cos_TR: Tensor,
    sin_TR: Tensor,
    slots_T: Tensor,
    cache: LayerKV,
    *,
    norms: HeadNorms | None = None,
) -> Tensor:
    """Returns the queries, and changes the cache. What each part does is in the op of its name."""
    if norms is not None:
        query_TNH = rms_norm.reference(query_TNH, norms.query_H, norms.eps, norms.offset)
        key_TKH = rms_norm.reference(key_TKH, norms.key_H, norms.eps, norms.offset)
    key_TKH = rope.reference(key_TKH, cos_TR, sin_TR)
    kv_write.reference(key_TKH, value_TKH, slots_T, cache)
    return rope.reference(query_TNH, cos_TR, sin_TR)


def cases(seed: int, dtype: torch.dtype) -> Iterator[Case]:
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(dtype)

    for tokens, heads, key_heads, head_dim, half in ((1, 4, 2, 16, 8), (9, 3, 1, 40, 12), (70, 2, 2, 64, 32)):
        for offset in (None, 0.0, 1.0):
            angles = torch.rand(tokens, half, generator=generator) * 100
            yield {
                "query_TNH": random(tokens, heads, head_dim),
                "key_TKH": random(tokens, key_heads, head_dim),
                "value_TKH": random(tokens, key_heads, head_dim),
                "cos_TR": angles.cos(),
                "sin_TR": angles.sin(),
                "slots_T": torch.randperm(80, generator=generator)[:tokens],
                "cache": LayerKV(*(torch.zeros(5, 16, key_heads, head_dim, dtype=dtype) for _ in "kv")),
                "norms": None
                if offset is None
                else HeadNorms(random(head_dim), random(head_dim), 1e-6, offset),
            }


rope_kv_write = Op("rope_kv_write", reference, cases)
