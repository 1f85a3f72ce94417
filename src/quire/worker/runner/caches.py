"""The KV pool's memory: one key and one value tensor per layer, committed page by page as blocks are used."""

from __future__ import annotations

import torch
from torch import Tensor

from quire.base.config import CacheConfig
from quire.model.layers import LayerCache, LayerKV


def allocate_caches(shapes: list[LayerCache], config: CacheConfig, dtype: torch.dtype) -> list[LayerKV]:
    """Per layer key and value of shape (num_blocks, block_size, num_kv_heads, head_dim).

    `torch.empty` maps the memory without touching it, so the operating system commits a page only when a
    token is written to it: an idle server holds no KV memory.
    """
    return [LayerKV(_empty(shape, config, dtype), _empty(shape, config, dtype)) for shape in shapes]


def _empty(shape: LayerCache, config: CacheConfig, dtype: torch.dtype) -> Tensor:
    return torch.empty(
        (config.num_blocks, config.block_size, shape.num_kv_heads, shape.head_dim), dtype=dtype
    )


def copy_blocks(caches: list[LayerKV], copies: list[tuple[int, int]]) -> None:
    """Copy whole blocks, (source, destination) in order: a later copy may read an earlier one's target."""
    for source, destination in copies:
        for layer in caches:
            layer.key[destination] = layer.key[source]
            layer.value[destination] = layer.value[source]
