"""The safetensors files of a model folder, judged by their headers alone.

A safetensors file is an 8-byte little-endian length, a JSON header of that length (tensor name → dtype, shape,
begin and end within the data), then the data. Every number in it is checked against the file's real size, so a
damaged download is named before anything is computed, without reading weights.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quire.base.config import ModelCard
from quire.base.errors import CheckpointError
from quire.model.checkpoint.pickled import pickled_bytes, pickled_files
from quire.model.checkpoint.shards import AGAIN, listed_files, read_index

INDEX = "model.safetensors.index.json"
MAX_HEADER_BYTES = 100_000_000  # the format's own limit
ELEMENT_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "I64": 64, "U64": 64, "F64": 64, "C64": 64,
}  # fmt: skip
OTHER_FORMATS = ("*.gguf", "*.h5", "*.msgpack", "*.ckpt")


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """Where one tensor lies. `begin` and `end` are byte offsets in the file."""

    name: str
    file: Path
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def size_bytes(self) -> int:
        return self.end - self.begin


def verify_checkpoint(card: ModelCard, load_format: str = "auto") -> None:
    """Raises CheckpointError naming the first file that is missing, cut short or inconsistent; some must be there."""
    folder = Path(card.folder)
    if load_format != "pt":
        weight_entries(folder)
    elif not pickled_bytes(folder):
        raise CheckpointError(
            f"{folder} holds no weights in *.bin, *.pt or *.pth files (--load-format pt); leave --load-format auto "
            f"for safetensors."
        )


def weight_entries(folder: Path) -> dict[str, TensorEntry]:
    """`read_headers` for a folder that must hold weights."""
    entries = read_headers(folder)
    if entries:
        return entries
    if pickled := pickled_files(folder):
        raise CheckpointError(
            f"{pickled[0]}: by itself Quire reads safetensors only, since such files may hold code; --load-format pt "
            f"reads this one, restricted to tensors."
        )
    for pattern in OTHER_FORMATS:
        other = next(iter(sorted(folder.glob(pattern))), None)
        if other is not None:
            raise CheckpointError(
                f"{other}: Quire reads weights from safetensors files (and .bin, .pt); convert the model "
                f"(transformers: model.save_pretrained(folder)) or pick a repository that has them."
            )
    raise CheckpointError(
        f"{folder} holds no weights (*.safetensors); download them, or measure with random ones: "
        f"--load-format dummy."
    )


def read_headers(folder: Path) -> dict[str, TensorEntry]:
    """Every tensor of the folder by name. Empty where the folder has no safetensors file."""
    entries: dict[str, TensorEntry] = {}
    files = weight_files(folder)
    index = {} if files == [folder / "model.safetensors"] else read_index(folder, INDEX)
    for file in files:
        for entry in _read_header(file):
            if entry.name in entries:
                raise CheckpointError(
                    f"{file}: tensor {entry.name!r} is also in {entries[entry.name].file.name}; a model's files "
                    f"hold each tensor once, so keep only the files of one download."
                )
            entries[entry.name] = entry
    for name, file_name in index.items():
        if name not in entries:
            raise CheckpointError(
                f"{folder / file_name}: tensor {name!r} is listed in {INDEX} but not in the file; {AGAIN}."
            )
    return entries


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files to read: `model.safetensors`, else those the index lists, else every one there."""
    single = folder / "model.safetensors"
    if single.is_file():
        return [single]
    found = (path for path in folder.glob("*.safetensors") if not path.name.startswith("adapter_"))
    return listed_files(folder, INDEX) or sorted(found)


def _read_header(file: Path) -> list[TensorEntry]:
    real_bytes = file.stat().st_size
    with file.open("rb") as stream:
        head = stream.read(8)
        if len(head) < 8:
            raise CheckpointError(
                f"{file} is {real_bytes} bytes long, too short for a safetensors file; {AGAIN}."
            )
        (header_bytes,) = struct.unpack("<Q", head)
        if head == b"version ":
            raise CheckpointError(
                f"{file} is a Git LFS pointer, not the weights; run `git lfs pull` in its folder."
            )
        if header_bytes > MAX_HEADER_BYTES:
            raise CheckpointError(
                f"{file} is no safetensors file (it announces a header of {header_bytes} bytes); {AGAIN}."
            )
        if 8 + header_bytes > real_bytes:
            raise CheckpointError(
                f"{file} is cut short: its header alone ends at byte {8 + header_bytes}, "
                f"the file has {real_bytes}; {AGAIN}."
            )
        raw = stream.read(header_bytes)
    try:
        header = json.loads(raw)
    except ValueError as error:
        raise CheckpointError(f"{file} has a damaged header ({error}); {AGAIN}.") from None
    if not isinstance(header, dict):
        raise CheckpointError(f"{file} has a damaged header (no tensor table); {AGAIN}.")
    start = 8 + header_bytes
    entries = [_entry(file, name, facts, start) for name, facts in header.items() if name != "__metadata__"]
    _check_layout(file, entries, start, real_bytes)
    return entries


def _entry(file: Path, name: str, facts: Any, start: int) -> TensorEntry:
    try:
        dtype, shape, (begin, end) = facts["dtype"], tuple(facts["shape"]), facts["data_offsets"]
        counts = isinstance(dtype, str) and all(type(n) is int and n >= 0 for n in (*shape, begin, end))
    except (KeyError, TypeError, ValueError):
        counts = False
    if not counts:
        raise CheckpointError(f"{file} has a damaged header entry for tensor {name!r}; {AGAIN}.")
    if dtype not in ELEMENT_BITS:
        raise CheckpointError(
            f"{file}: tensor {name!r} has the unknown dtype {dtype!r} (known are {', '.join(ELEMENT_BITS)}); "
            f"{AGAIN}, or convert it to one of these."
        )
    expected = math.prod(shape) * ELEMENT_BITS[dtype] // 8
    if end - begin != expected:
        raise CheckpointError(
            f"{file}: tensor {name!r} of shape {list(shape)} and dtype {dtype} needs {expected} bytes, its header "
            f"entry spans {end - begin}; {AGAIN}."
        )
    return TensorEntry(name, file, dtype, shape, start + begin, start + end)


def _check_layout(file: Path, entries: list[TensorEntry], start: int, real_bytes: int) -> None:
    """Tensors lie one after another without gaps, and the last one ends where the file ends."""
    place = start
    for entry in sorted(entries, key=lambda entry: (entry.begin, entry.end)):
        if entry.begin != place:
            fault = "overlaps another tensor" if entry.begin < place else "leaves a gap before it"
            raise CheckpointError(
                f"{file}: tensor {entry.name!r} {fault} (byte {entry.begin}, expected {place}); {AGAIN}."
            )
        place = entry.end
    if real_bytes < place:
        raise CheckpointError(
            f"{file} is cut short: its header wants {place} bytes, the file has {real_bytes}; {AGAIN}."
        )
    if real_bytes > place:
        raise CheckpointError(
            f"{file} has {real_bytes - place} bytes after its last tensor ({real_bytes}, expected {place}); {AGAIN}."
        )
