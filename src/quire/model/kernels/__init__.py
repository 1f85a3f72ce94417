"""Providers of ops: one package per backend, one file per op. The first backend that can run an op here gives it."""

from quire.model.kernels.cpu.large_pages import map_large
from quire.model.kernels.cpu.native import VERSION as LAYOUT_VERSION
from quire.model.kernels.cpu.native import NativeLibraryMissing, configure, native_seconds
from quire.model.kernels.cpu.probe import PROBES, ReadMemory, probe_rate
from quire.model.kernels.prepared import Prepared
from quire.model.kernels.recorded import Tape, Unrecordable

BACKENDS: tuple[str, ...] = (
    "cpu",
)  # in order of preference; the torch reference of each op comes last, always

__all__ = [
    "BACKENDS",
    "LAYOUT_VERSION",
    "PROBES",
    "NativeLibraryMissing",
    "Prepared",
    "ReadMemory",
    "Tape",
    "Unrecordable",
    "configure",
    "map_large",
    "native_seconds",
    "probe_rate",
]
