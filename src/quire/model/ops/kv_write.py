"""kv_write: puts the keys and values of a step's tokens into their slots of one layer's cache."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from quire.model.ops.contract import Case, Op


def reference(
    key_TKH: Tensor, value_TKH: Tensor, slots_T: Tensor, key_cache: Tensor, value_cache: Tensor
) -> None:
    """Changes the caches, (num_blocks, block_size, K, H). Slot s is place s % block_size of block
    s // block_size; slots of one call are distinct."""
    key_cache.view(-1, *key_cache.shape[2:])[slots_T] = key_TKH
    value_cache.view(-1, *value_cache.shape[2:])[slots_T] = value_TKH


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
