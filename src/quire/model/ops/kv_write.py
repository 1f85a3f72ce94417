"""kv_write: puts the keys and values of a step's tokens into their slots of one layer's cache.

The cache may be of another type than the keys. Eight-bit floating point ends at its largest number: what lies
beyond becomes that. With scales each head of each token is stretched to the type's whole range, symmetrically, and
stands for what is written times its scale; int8 is always written so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from quire.model.ops.contract import Case, Op

LARGEST = {torch.int8: 127.0, torch.float8_e4m3fn: 448.0, torch.float8_e5m2: 57344.0}
SCALED = (torch.int8, torch.float8_e4m3fn)  # types that may have scales; int8 must


class LayerKV(NamedTuple):
    """One layer's cache: keys and values, each (num_blocks, block_size, K, H), and for formats that have them their
    scales, (num_blocks, block_size, K) in float32."""

    key: Tensor
    value: Tensor
    key_scales: Tensor | None = None
    value_scales: Tensor | None = None

    def check(self) -> None:
        """Raises TypeError where keys and values differ, or scales do not belong to their type."""
        scales = [part for part in self[2:] if part is not None]
        is_alike = self.key.shape == self.value.shape and self.key.dtype is self.value.dtype
        has_right = (
            len(scales) == 2 and self.key.dtype in SCALED if scales else self.key.dtype is not torch.int8
        )
        fits = all(part.shape == self.key.shape[:3] and part.dtype is torch.float32 for part in scales)
        if not (is_alike and has_right and fits):
            parts = [f"{tuple(part.shape)} of {part.dtype}" for part in (self.key, self.value, *scales)]
            raise TypeError(f"a cache of keys, values and scales that do not go together: {', '.join(parts)}")


def reference(key_TKH: Tensor, value_TKH: Tensor, slots_T: Tensor, cache: LayerKV) -> None:
    """Changes the cache. Slot s is place s % block_size of block s // block_size; slots of one call are distinct."""
    cache.check()
    for x_TKH, part, scales in zip((key_TKH, value_TKH), cache[:2], cache[2:], strict=True):
        rows = part.view(-1, *part.shape[2:])
        if scales is not None:
            rounded, scale_TK1 = round_heads(x_TKH, part.dtype)
            scales.view(-1, scales.shape[2])[slots_T] = scale_TK1.squeeze(-1)
        else:
            rounded = as_cached(x_TKH, part.dtype)
        if part.element_size() == 1:  # torch places bytes, but not all eight-bit types, by index
            rows.view(torch.uint8)[slots_T] = rounded.view(torch.uint8)
        else:
            rows[slots_T] = rounded


def as_cached(x: Tensor, dtype: torch.dtype) -> Tensor:
    """`x` in a cache's type, without scales."""
    if dtype not in LARGEST:
        return x.to(dtype)
    return x.float().clamp(-LARGEST[dtype], LARGEST[dtype]).to(dtype)


def round_heads(x_TKH: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """(numbers of `dtype`, scales (T, K, 1)). A head with a NaN or an infinity gets the scale NaN."""
    wide = x_TKH.float()
    highest = wide.abs().amax(-1, keepdim=True)
    inverse = torch.full_like(highest, LARGEST[dtype]) / highest
    stretched = torch.where(highest.isfinite() & inverse.isfinite(), wide * inverse, 0.0)
    if dtype is torch.int8:
        stretched = stretched.round()
    scale_TK1 = torch.where(highest.isfinite(), highest / LARGEST[dtype], torch.nan)
    return as_cached(stretched, dtype), scale_TK1


def cases(seed: int, dtype: torch.dtype) -> Iterator[Case]:
    generator = torch.Generator().manual_seed(seed)
    for tokens, block_size, heads, head_dim in ((1, 16, 2, 16), (9, 4, 1, 32)):
        cache = torch.zeros(8, block_size, heads, head_dim, dtype=dtype)
        yield {
            "key_TKH": torch.randn(tokens, heads, head_dim, generator=generator).to(dtype),
            "value_TKH": torch.randn(tokens, heads, head_dim, generator=generator).to(dtype),
            "slots_T": torch.randperm(8 * block_size, generator=generator)[:tokens],
            "cache": LayerKV(cache.clone(), cache.clone()),
        }


kv_write = Op("kv_write", reference, cases)
