"""kv_write: puts the keys and values of a step's tokens into their slots of one layer's cache.

The cache may be of another type than the keys. Eight-bit floating point ends at its largest number: what lies beyond
becomes that. With scales each head of each token is stretched to the type's whole range, symmetrically, and stands for
what is written times its scale; int8 is always written so.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from quire.model.ops.contract import Case, Op

LARGEST = {torch.int8: 127.0, torch.float8_e4m3fn: 448.0, torch.float8_e5m2: 57344.0}
SCALED = (torch.int8, torch.float8_e4m3fn)  # types that may have scales; int8 must


def reference(
    key_TKH: Tensor,
    value_TKH: Tensor,
    slots_T: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    key_scales: Tensor | None = None,
    value_scales: Tensor | None = None,
) -> None:
    """Changes the caches, (num_blocks, block_size, K, H), and their scales, (num_blocks, block_size, K) in float32.
    Slot s is place s % block_size of block s // block_size; slots of one call are distinct."""
    check_scales(key_cache, key_scales, value_scales)
    for x_TKH, cache, scales in ((key_TKH, key_cache, key_scales), (value_TKH, value_cache, value_scales)):
        rows = cache.view(-1, *cache.shape[2:])
        if scales is not None:
            rounded, scale_TK1 = round_heads(x_TKH, cache.dtype)
            scales.view(-1, scales.shape[2])[slots_T] = scale_TK1.squeeze(-1)
        else:
            rounded = as_cached(x_TKH, cache.dtype)
        if cache.element_size() == 1:  # torch places bytes, but not all eight-bit types, by index
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


def check_scales(cache: Tensor, *scales: Tensor | None) -> None:
    """Raises TypeError where a cache of this type goes with other scales."""
    given = [found for found in scales if found is not None]
    is_right = len(given) in (0, len(scales)) and (
        cache.dtype in SCALED if given else cache.dtype is not torch.int8
    )
    fits = all(found.shape == cache.shape[:3] and found.dtype is torch.float32 for found in given)
    if not (is_right and fits):
        shapes = [tuple(found.shape) for found in given]
        raise TypeError(f"a cache {tuple(cache.shape)} of {cache.dtype} with scales {shapes or None}")


def cases(seed: int, dtype: torch.dtype) -> Iterator[Case]:
    generator = torch.Generator().manual_seed(seed)
    for tokens, block_size, heads, head_dim in ((1, 16, 2, 16), (9, 4, 1, 32)):
        cache = torch.zeros(8, block_size, heads, head_dim, dtype=dtype)
        yield {
            "key_TKH": torch.randn(tokens, heads, head_dim, generator=generator).to(dtype),
            "value_TKH": torch.randn(tokens, heads, head_dim, generator=generator).to(dtype),
            "slots_T": torch.randperm(8 * block_size, generator=generator)[:tokens],
            "key_cache": cache.clone(),
            "value_cache": cache.clone(),
        }


kv_write = Op("kv_write", reference, cases)
