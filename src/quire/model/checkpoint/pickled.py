"""Torch's own weight files of a model folder (`pytorch_model.bin`, `*.pt`), found and measured without unpickling.

Since torch 1.6 such a file is a zip archive without compression: a pickle that describes tensors, and their numbers
under `data/`. What the pickle says is read by torch, restricted to tensors, in the engine process (`model/loading`);
here only names and sizes count.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

from quire.base.errors import CheckpointError
from quire.model.checkpoint.shards import AGAIN, listed_files

PICKLED_INDEX = "pytorch_model.bin.index.json"
SINGLE = "pytorch_model.bin"
NOT_WEIGHTS = (
    "training_args.",
    "optimizer.",
    "scheduler.",
    "rng_state",
    "scaler.",
)  # what trainers leave beside


def pickled_files(folder: Path) -> list[Path]:
    """Those the index lists, else `pytorch_model.bin`, else every .bin, .pt and .pth file; maybe none."""
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    if listed := listed_files(folder, PICKLED_INDEX):
        return listed
    found = [path for pattern in ("*.bin", "*.pt", "*.pth") for path in folder.glob(pattern)]
    return sorted(path for path in found if not path.name.startswith(NOT_WEIGHTS))


def pickled_bytes(folder: Path) -> int:
    """What the tensors of all files hold. Raises CheckpointError naming a damaged file, or one of an older form."""
    return sum(map(_data_bytes, pickled_files(folder)))


def _data_bytes(file: Path) -> int:
    try:
        with zipfile.ZipFile(file) as archive:
            return sum(item.file_size for item in archive.infolist() if "/data/" in item.filename)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as problem:
        raise CheckpointError(
            f"{file} is not a weight file of torch 1.6 or newer ({problem}); {AGAIN}, or convert the model to "
            f"safetensors (transformers: model.save_pretrained(folder))."
        ) from None
