"""The file of packed weights: tensors one after another, then what they are.

    tensors      each at a multiple of 4096 bytes
    directory    JSON: for each parameter its class, shape, dtype and tensors
    end          56 bytes: MAGIC, length of the directory (8 bytes, little-endian), its BLAKE2b digest (32 bytes)

The end is at the end so that tensors can be written as they are packed. The digest covers the directory, which says
how long the file is; the tensors' own bytes are not summed up, which would cost more than reading them.

Mapped, the tensors are the system's page cache, and processes that serve one model share them. The mapping is
private, so nothing written to a weight would reach the file. Its pages are those that the file system keeps the file
in; read into memory on large pages, which takes longer, the tensors are faster in each step.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import mmap
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import msgspec
import torch
from torch import Tensor

from quire.model.kernels import Prepared, map_large

MAGIC = b"quire packed 01\n"
END_BYTES = len(MAGIC) + 8 + 32
ALIGNMENT_BYTES = 4096
PIECE_BYTES = 64 << 20  # between two reports
MADV_POPULATE_READ = 22  # linux/mman.h, since 5.14


class Part(msgspec.Struct, frozen=True):
    """One tensor. `begin` is its offset in the file, in bytes."""

    begin: int
    shape: list[int]
    dtype: str


class Entry(msgspec.Struct, frozen=True):
    """One parameter. `kind` names the subclass of Prepared; empty for a plain tensor, which is the only part."""

    kind: str
    shape: list[int]
    dtype: str
    parts: dict[str, Part]


class Directory(msgspec.Struct, frozen=True):
    """`end` is where the tensors end, in bytes."""

    end: int
    entries: dict[str, Entry]


class Unusable(Exception):
    """Why a file cannot be read."""


class PackedFileWriter:
    """Use: `add` for each parameter, then `finish`. Raises OSError when there is no room."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._end = 0
        self._entries: dict[str, Entry] = {}

    def add(self, name: str, weight: Tensor | Prepared) -> None:
        if isinstance(weight, Prepared):
            kind, tensors = weight.kind(), weight.tensors()
        else:
            kind, tensors = "", {"value": weight.detach()}
        parts = {label: self._write(tensor) for label, tensor in tensors.items()}
        self._entries[name] = Entry(kind, list(weight.shape), _name(weight.dtype), parts)

    def _write(self, tensor: Tensor) -> Part:
        begin = -(-self._end // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
        self._stream.seek(begin)
        flat = tensor.contiguous().view(-1).view(torch.uint8)
        self._stream.write((ctypes.c_ubyte * flat.nbytes).from_address(flat.data_ptr()))
        self._end = begin + flat.nbytes
        return Part(begin, list(tensor.shape), _name(tensor.dtype))

    def finish(self) -> None:
        """Writes what makes the file readable, and waits until all of it is on the disk."""
        directory = msgspec.json.encode(Directory(self._end, self._entries))
        self._stream.write(directory + _end_of(directory))
        self._stream.flush()
        os.fsync(self._stream.fileno())


def read_packed_file(
    path: Path, report: Callable[[int, int], None], *, is_mapped: bool
) -> dict[str, Tensor | Prepared]:
    """The parameters by name, in memory of the process's own or as a mapping of the file. Raises Unusable for a
    damaged file, OSError."""
    with path.open("rb") as stream:
        directory = _read_directory(stream)
        memory = (_map if is_mapped else _read)(stream, directory.end, report)
    return {name: _weight(entry, memory) for name, entry in directory.entries.items()}


def _weight(entry: Entry, memory: Tensor) -> Tensor | Prepared:
    tensors = {label: _tensor(part, memory) for label, part in entry.parts.items()}
    if not entry.kind:
        return tensors["value"]
    if entry.kind not in Prepared.kinds:
        raise Unusable(f"it holds {entry.kind}, which this version does not know")
    return Prepared.kinds[entry.kind].restore(torch.Size(entry.shape), getattr(torch, entry.dtype), tensors)


def _tensor(part: Part, memory: Tensor) -> Tensor:
    dtype = getattr(torch, part.dtype)
    size_bytes = torch.Size(part.shape).numel() * dtype.itemsize
    return memory[part.begin : part.begin + size_bytes].view(dtype).view(part.shape)


def _read_directory(stream: BinaryIO) -> Directory:
    size = os.fstat(stream.fileno()).st_size
    if size < END_BYTES:
        raise Unusable(f"it has only {size} bytes")
    stream.seek(size - END_BYTES)
    end = stream.read(END_BYTES)
    length = int.from_bytes(end[len(MAGIC) : len(MAGIC) + 8], "little")
    if not end.startswith(MAGIC) or length > size - END_BYTES:
        raise Unusable("it is cut short or not a file of packed weights")
    stream.seek(size - END_BYTES - length)
    encoded = stream.read(length)
    if end != _end_of(encoded):
        raise Unusable("its directory is damaged")
    directory = msgspec.json.decode(encoded, type=Directory)
    if directory.end + length + END_BYTES != size:
        raise Unusable(f"it has {size} bytes, its directory wants {directory.end + length + END_BYTES}")
    return directory


def _end_of(directory: bytes) -> bytes:
    return MAGIC + len(directory).to_bytes(8, "little") + hashlib.blake2b(directory, digest_size=32).digest()


def _read(stream: BinaryIO, size_bytes: int, report: Callable[[int, int], None]) -> Tensor:
    """The file's first bytes on large pages, brought there by as many threads as compute. Raises Unusable when the
    file ends before."""
    area = map_large(size_bytes)

    def fill(begin: int) -> int:
        end = min(begin + PIECE_BYTES, size_bytes)
        while begin < end:
            count = os.preadv(stream.fileno(), [memoryview(area)[begin:end]], begin)
            if not count:
                raise Unusable(f"it ends after {begin} bytes")
            begin += count
        return end

    with ThreadPoolExecutor(torch.get_num_threads(), "weights") as threads:
        for end in threads.map(fill, range(0, size_bytes, PIECE_BYTES)):
            report(end, size_bytes)
    return torch.frombuffer(area, dtype=torch.uint8, count=size_bytes)


def _map(stream: BinaryIO, size_bytes: int, report: Callable[[int, int], None]) -> Tensor:
    """The file's first bytes. All of them are in memory when this returns, where the system can be asked for it."""
    area = mmap.mmap(stream.fileno(), size_bytes, access=mmap.ACCESS_COPY)
    for begin in range(0, size_bytes, PIECE_BYTES):
        length = min(PIECE_BYTES, size_bytes - begin)
        with contextlib.suppress(OSError):  # older systems
            area.madvise(MADV_POPULATE_READ, begin, length)
        report(begin + length, size_bytes)
    return torch.frombuffer(area, dtype=torch.uint8)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
