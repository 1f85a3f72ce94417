"""The KV pool's memory: tensors of keys and of values for each layer, committed page by page as blocks are used."""

from __future__ import annotations

import ctypes
import mmap

import torch
from torch import Tensor

from quire.base.config import CacheConfig
from quire.model.layers import LayerCache, LayerKV


def allocate_caches(shapes: list[LayerCache], config: CacheConfig, own_dtype: torch.dtype) -> list[LayerKV]:
    """Per layer key and value of shape (num_blocks, block_size, num_kv_heads, head_dim), and their scales where the
    format has any. `own_dtype` is the network's, which some layers may keep.

    Each tensor is a mapping of its own, of which the operating system commits a page only when a token is written
    to it: an idle server holds no KV memory. The heap might give what loading has touched and freed.
    """
    dtype: torch.dtype = getattr(torch, config.dtype)
    return [
        _allocate(shape, config, own_dtype, has_scales=False)
        if layer in config.own_dtype_layers
        else _allocate(shape, config, dtype, has_scales=config.has_scales)
        for layer, shape in enumerate(shapes)
    ]


def _allocate(shape: LayerCache, config: CacheConfig, dtype: torch.dtype, *, has_scales: bool) -> LayerKV:
    slots = (config.num_blocks, config.block_size)
    key, value = (_map(torch.Size((*slots, *shape)), dtype) for _ in "kv")
    if not has_scales:
        return LayerKV(key, value)
    return LayerKV(key, value, *(_map(torch.Size((*slots, shape.num_kv_heads)), torch.float32) for _ in "kv"))


def _map(shape: torch.Size, dtype: torch.dtype) -> Tensor:
    num_bytes = shape.numel() * dtype.itemsize
    memory = mmap.mmap(-1, num_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return torch.frombuffer(memory, dtype=torch.uint8).view(dtype).view(shape)


def return_pages(caches: list[LayerKV]) -> None:
    """Give the memory behind the pool back to the system; what it held reads as zeros. A no-op off Linux."""
    try:
        madvise = ctypes.CDLL(None).madvise
    except (OSError, AttributeError):
        return
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for layer in caches:
        for part in layer:
            if part is not None:
                madvise(part.data_ptr(), part.nbytes, mmap.MADV_DONTNEED)  # the mapping is this tensor alone


def copy_blocks(caches: list[LayerKV], copies: list[tuple[int, int]]) -> None:
    """Copy whole blocks, (source, destination) in order: a later copy may read an earlier one's target."""
    for source, destination in copies:
        for layer in caches:
            for part in layer:
                if part is not None:
                    _as_bytes(part)[destination] = _as_bytes(part)[source]


def _as_bytes(part: Tensor) -> Tensor:
    """Torch moves bytes by index, but not all eight-bit types."""
    return part.view(torch.uint8) if part.element_size() == 1 else part
