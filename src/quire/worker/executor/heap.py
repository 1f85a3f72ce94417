"""What the process that computes holds beside weights and KV blocks: the C heap, and the code of libraries.

Memory freed after a step stays ours for the next one. glibc would hand large blocks back to the kernel when they are
freed, so every step would fault its activations in again, page by page: half of a 64-row step of the built-in model,
measured. Linux with glibc only.
"""

from __future__ import annotations

import ctypes
import mmap
from pathlib import Path

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
KEPT_BLOCK_BYTES = 1 << 30  # larger blocks are still mapped and returned on their own
KEPT_TOTAL_BYTES = 2**31 - 1


def keep_freed_memory() -> bool:
    """Raise glibc's thresholds; returns whether the C library took them."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, KEPT_BLOCK_BYTES) and mallopt(M_TRIM_THRESHOLD, KEPT_TOTAL_BYTES))


def return_freed_memory() -> bool:
    """Hand what is free at this moment back to the kernel; returns whether there was any."""
    try:
        return bool(ctypes.CDLL(None).malloc_trim(0))
    except (OSError, AttributeError):
        return False


def return_code_pages() -> None:
    """Let go of the machine code that has run so far: most of it, 50 MiB of torch's alone, only on import. It stays
    in the system's page cache; what runs again is mapped again, without a copy. A no-op off Linux."""
    try:
        lines = Path("/proc/self/smaps").read_text().splitlines()
        madvise = ctypes.CDLL(None).madvise
    except (OSError, AttributeError):
        return
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    span = ""  # addresses of the mapping that the next lines are about, if it is code of a file
    for line in lines:
        words = line.split(maxsplit=5)
        if not words[0].endswith(":"):
            span = words[0] if words[1] == "r-xp" and words[-1].startswith("/") else ""
        elif span and words[:2] == ["Anonymous:", "0"]:  # no page of it has been changed
            first, end = (int(address, 16) for address in span.split("-"))
            madvise(first, end - first, mmap.MADV_DONTNEED)
