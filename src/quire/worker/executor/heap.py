"""The C heap of the process that computes: memory freed after a step stays ours for the next one.

glibc hands large blocks back to the kernel when they are freed, so every step would fault its activations in
again, page by page: half of a 64-row step of the built-in model, measured. Linux with glibc only.
"""

from __future__ import annotations

import ctypes

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
    """Hand what is free in the heap back to the kernel after all, once; returns whether the C library did."""
    try:
        return bool(ctypes.CDLL(None).malloc_trim(0))
    except (OSError, AttributeError):
        return False
