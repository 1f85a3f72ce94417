"""The KV pool's tensors in every format, and blocks copied whole: numbers and scales."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from quire.base.config import CacheConfig
from quire.model.layers import LayerCache
from quire.worker.executor.heap import keep_freed_memory
from quire.worker.runner.caches import allocate_caches, copy_blocks

SHAPES = [LayerCache(2, 8), LayerCache(1, 16)]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8", "float8_e4m3fn", "float8_e5m2"])
def test_blocks_are_copied_with_their_scales(dtype: str) -> None:
    has_scales = dtype == "int8"
    config = CacheConfig(block_size=4, num_blocks=3, dtype=dtype, has_scales=has_scales)
    caches = allocate_caches(SHAPES, config, torch.float32)
    for layer in caches:
        assert layer.key.dtype is layer.value.dtype is getattr(torch, dtype)
        for part in (part for part in layer if part is not None):
            for block in range(3):
                part[block].view(torch.uint8).fill_(block + 1)
    copy_blocks(caches, [(1, 0), (0, 2)])
    for layer in caches:
        assert len([part for part in layer if part is not None]) == (4 if has_scales else 2)
        for part in (part for part in layer if part is not None):
            assert (part.view(torch.uint8) == 2).all()


def test_layers_that_keep_the_networks_dtype() -> None:
    config = CacheConfig(block_size=4, num_blocks=3, dtype="int8", has_scales=True, own_dtype_layers=[1])
    scaled, own = allocate_caches(SHAPES, config, torch.bfloat16)
    assert (scaled.key.dtype, scaled.key_scales.shape) == (torch.int8, (3, 4, 2))
    assert (own.value.dtype, own.value_scales) == (torch.bfloat16, None)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/statm")
def test_memory_that_loading_has_freed_is_no_part_of_the_pool() -> None:
    """A first start packs weights in memory that the heap keeps: a pool made of it would hold it for good."""
    keep_freed_memory()
    config = CacheConfig(block_size=4, num_blocks=1 << 18, dtype="bfloat16")
    freed = torch.full((40 << 20,), 7, dtype=torch.uint8)
    del freed
    before = _resident_pages()
    (layer,) = allocate_caches([LayerCache(2, 8)], config, torch.bfloat16)
    assert layer.key.nbytes == 32 << 20 and _resident_pages() <= before
    layer.key[5] = 1
    assert layer.key.view(torch.uint8)[:5].sum() == 0 and layer.value.view(torch.uint8).sum() == 0


def _resident_pages() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1])
