"""Memory on large pages (2 MiB) for what is read from end to end.

There are fewer pages to look up, and a processor that fetches ahead need not stop at every 4 KiB."""

from __future__ import annotations

import contextlib
import mmap
import threading
import weakref

import torch
from torch import Tensor

PAGE_BYTES = 2 << 20
REGION_BYTES = 64 << 20
ALIGNMENT_BYTES = 64


def map_large(size_bytes: int) -> mmap.mmap:
    """Private memory in whole large pages, where the system grants them; committed as it is written to."""
    size_bytes = -(-size_bytes // PAGE_BYTES) * PAGE_BYTES
    # a shared mapping, which is the default, would be of small pages
    area = mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a system built without them
            area.madvise(mmap.MADV_HUGEPAGE)
    return area


class Regions:
    """Hands out memory, one piece after another from a region: a weight of its own pages would waste most of a large
    one, or get none. A region lives as long as a piece of it."""

    def __init__(self) -> None:
        self._region: weakref.ref[mmap.mmap] | None = None
        self._end = 0  # of what is handed out of it, in bytes
        self._lock = threading.Lock()

    def empty(self, size_bytes: int) -> Tensor:
        """uint8 (size_bytes), zeros, aligned to cache lines."""
        with self._lock:
            region = self._region() if self._region else None
            if region is None or self._end + size_bytes > len(region):
                region = map_large(max(size_bytes, REGION_BYTES))
                self._region, self._end = weakref.ref(region), 0
            begin, self._end = self._end, -(-(self._end + size_bytes) // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
        return torch.frombuffer(region, dtype=torch.uint8, count=size_bytes, offset=begin)


WEIGHTS = Regions()
