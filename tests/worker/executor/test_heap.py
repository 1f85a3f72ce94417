"""The C heap: what is freed stays, until it is handed back."""

from __future__ import annotations

import ctypes
import resource
from pathlib import Path

from quire.worker.executor.heap import keep_freed_memory, return_freed_memory

BLOCK_BYTES, NUM_BLOCKS = 1 << 16, 1024


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_freed_memory_stays_until_it_is_handed_back():
    assert keep_freed_memory()
    blocks = [ctypes.create_string_buffer(BLOCK_BYTES) for _ in range(NUM_BLOCKS)]
    full_bytes = resident_bytes()
    last = blocks.pop()  # keeps the heap's end where it is
    del blocks[:]
    assert full_bytes - resident_bytes() < NUM_BLOCKS * BLOCK_BYTES / 4
    assert return_freed_memory()
    assert full_bytes - resident_bytes() > NUM_BLOCKS * BLOCK_BYTES / 2
    assert len(last) == BLOCK_BYTES
