"""The C heap: what is freed stays, until it is handed back; and code that ran once."""

from __future__ import annotations

import ctypes
import resource
from pathlib import Path

import torch

from quire.worker.executor.heap import keep_freed_memory, return_code_pages, return_freed_memory

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


def code_bytes(library: str) -> int:
    """Resident pages of its machine code."""
    total, is_code = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            is_code = words[1] == "r-xp" and library in line
        elif is_code and words[0] == "Rss:":
            total += int(words[1]) * 1024
    return total


def test_code_that_only_importing_ran_is_let_go():
    before = code_bytes("libtorch_cpu.so")
    return_code_pages()
    assert code_bytes("libtorch_cpu.so") < before / 4
    assert torch.arange(5).sum() == 10  # and what is needed comes back
