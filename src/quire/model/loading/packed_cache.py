"""The cache of packed weights: one file for each (checkpoint, form), the longest unused deleted first.

A file's name is a digest of everything its content follows from:

- the checkpoint: for each safetensors file its name, size, time of change, header, and SAMPLES blocks of its data. A
  change of weights that keeps size and time, and falls between the blocks, is not noticed;
- the network: each parameter's name and shape, and the tensors it is made of, so whatever in config.json (or
  `--hf-overrides`) changes weights;
- the form: dtype, scheme of quantisation, the scheme's provider, the version of the native library's layouts. Panels
  are the same for every instruction set, so it is no part.

Files are written beside their place and renamed, so a reader sees a whole file or none, and two servers that start
together do no harm. Nothing that goes wrong here stops a start: it is logged, and weights are packed without a cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import torch
from torch import Tensor

from quire.base.config import EngineConfig
from quire.model.checkpoint import TensorEntry
from quire.model.kernels import LAYOUT_VERSION, Prepared
from quire.model.layers import SCHEMES, Network
from quire.model.loading.packed_file import PackedFileWriter, Unusable, read_packed_file

logger = logging.getLogger(__name__)
SMALLEST_BYTES = 64 << 20  # smaller networks are packed faster than they are looked up
SAMPLES, SAMPLE_BYTES = 256, 4096
STALE_S = 3600.0  # age of an unfinished file whose writer is taken for dead
SUFFIX, UNFINISHED = ".packed", ".unfinished"


class PackedCache:
    """The place of one network's packed weights, which are mapped or read into memory."""

    def __init__(self, folder: str, max_bytes: int, key: str, *, is_mapped: bool) -> None:
        self._folder = Path(folder).expanduser()
        self._max_bytes = max_bytes
        self._is_mapped = is_mapped
        self.path = self._folder / (key + SUFFIX)

    def read(self, report: Callable[[int, int], None]) -> dict[str, Tensor | Prepared] | None:
        """The parameters by name; None when there is no usable file."""
        started_s = time.monotonic()
        try:
            weights = read_packed_file(self.path, report, is_mapped=self._is_mapped)
        except FileNotFoundError:
            return None
        except (OSError, Unusable, msgspec.DecodeError) as problem:
            logger.warning(
                "packed weights in %s are not used: %s; they are written again", self.path, problem
            )
            return None
        with contextlib.suppress(OSError):  # of another user, perhaps
            os.utime(self.path)
        how = "mapped, shared with" if self._is_mapped else "read onto large pages, not shared with"
        logger.info(
            "packed weights %s other servers of this model (--safetensors-load-strategy), in %.2f s: %s",
            how,
            time.monotonic() - started_s,
            self.path,
        )
        return weights

    @contextlib.contextmanager
    def writer(self) -> Iterator[PackedFileWriter]:
        """Within the block parameters are added; after it the file is in its place. Raises OSError, and leaves
        nothing behind whatever goes wrong."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._sweep()
        descriptor, name = tempfile.mkstemp(UNFINISHED, self.path.stem, self._folder)
        try:
            with open(descriptor, "wb") as stream:
                writer = PackedFileWriter(stream)
                yield writer
                writer.finish()
            Path(name).replace(self.path)
        finally:
            Path(name).unlink(missing_ok=True)
        self._evict()

    def _sweep(self) -> None:
        """Deletes what writers left that were killed."""
        for path in self._folder.glob("*" + UNFINISHED):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > STALE_S:
                    path.unlink()

    def _evict(self) -> None:
        """Deletes the longest unused files beyond `max_bytes`, this one last."""
        files = []
        for path in self._folder.glob("*" + SUFFIX):
            with contextlib.suppress(FileNotFoundError):  # another server evicts, too
                facts = path.stat()
                files.append((path == self.path, facts.st_mtime_ns, facts.st_size, path))
        excess = sum(size for _, _, size, _ in files) - self._max_bytes
        for _, _, size, path in sorted(files):
            if excess <= 0:
                return
            logger.info("packed weights %s make room (--weight-cache-bytes %d)", path, self._max_bytes)
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            excess -= size


def cache_for(config: EngineConfig, network: Network, entries: dict[str, TensorEntry]) -> PackedCache | None:
    """None where no cache is wanted or would be no use."""
    scheme, dtype = config.quantization, getattr(torch, config.dtype)
    size_bytes = sum(parameter.numel() for parameter in network.parameters()) * dtype.itemsize
    provider = SCHEMES[scheme].op.explain().provider
    if size_bytes < SMALLEST_BYTES or not config.weight_cache_bytes or provider == "reference":
        return None
    form = f"{LAYOUT_VERSION} {provider} {scheme} {dtype}"
    key = _digest(form, *_describe(network), *_fingerprints(entries))
    is_mapped = config.read_strategy == "lazy"
    return PackedCache(config.weight_cache_folder, config.weight_cache_bytes, key, is_mapped=is_mapped)


def _describe(network: Network) -> Iterator[str]:
    sources = network.weights().sources
    shapes = {name: tuple(parameter.shape) for name, parameter in network.named_parameters()}
    return (f"{name} {shape} {sources.get(name)}" for name, shape in shapes.items())


def _fingerprints(entries: dict[str, TensorEntry]) -> Iterator[bytes]:
    """What can be told of each weight file without reading all of it."""
    first: dict[Path, int] = {}
    for entry in entries.values():
        first[entry.file] = min(entry.begin, first.get(entry.file, entry.begin))
    for file, data_begin in sorted(first.items()):
        with file.open("rb") as stream:
            facts = os.fstat(stream.fileno())
            yield f"{file.name} {facts.st_size} {facts.st_mtime_ns}".encode()
            yield stream.read(data_begin)
            stride = max(SAMPLE_BYTES, (facts.st_size - data_begin) // SAMPLES)
            for place in range(data_begin, facts.st_size, stride):
                yield os.pread(stream.fileno(), SAMPLE_BYTES, place)


def _digest(*facts: str | bytes) -> str:
    """Of the facts and of where each ends."""
    digest = hashlib.blake2b(digest_size=16)
    for fact in facts:
        encoded = fact.encode() if isinstance(fact, str) else fact
        digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return digest.hexdigest()
