"""What the machine can do at most: native/probe.h, timed. Kernels are judged against it in the same run."""

from __future__ import annotations

import ctypes
import time

from quire.model.kernels.cpu import native
from quire.model.kernels.cpu.large_pages import map_large

# name → kind in native/api.h; the best one that the chosen instruction set has bounds a kernel
PROBES = {
    "read": 0,
    "read, 4 streams": 1,
    "float32": 2,
    "bfloat16": 3,
    "int8": 4,
    "AMX bfloat16": 5,
    "AMX int8": 6,
}
ROUNDS = 20_000


class _ProbeCall(ctypes.Structure):
    """QuireProbeCall of native/api.h."""

    _fields_ = [
        ("rows", ctypes.c_int64),
        ("memory", ctypes.c_void_p),
        ("bytes", ctypes.c_int64),
        ("kind", ctypes.c_int32),
    ]


class ReadMemory:
    """Memory to read, far larger than caches: written once, so that it is real, on large pages like weights."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes >> 20 << 20
        self._map = map_large(self.size_bytes)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        ctypes.memset(self.address, 1, self.size_bytes)


def probe_rate(name: str, memory: ReadMemory | None = None) -> float:
    """Bytes or operations per second of one try on all threads; 0 when the chosen instruction set has no such
    instruction. Raises NativeLibraryMissing."""
    address, size = (memory.address, memory.size_bytes) if memory else (None, 0)
    call = _ProbeCall(ROUNDS, address, size, PROBES[name])
    started_s = time.perf_counter()
    done = native.library().quire_probe(ctypes.addressof(call))
    return float(done) / (time.perf_counter() - started_s)
