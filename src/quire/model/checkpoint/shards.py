"""The index of a checkpoint in several files: which tensor is in which of them."""

from __future__ import annotations

import json
from pathlib import Path

from quire.base.errors import CheckpointError

AGAIN = "download or copy it again"


def read_index(folder: Path, index: str) -> dict[str, str]:
    """Tensor name → file name; empty where the folder has no such index. Raises CheckpointError for a damaged one."""
    path = folder / index
    if not path.is_file():
        return {}
    try:
        weights = json.loads(path.read_text("utf-8"))["weight_map"]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is not an index of weight files ({error!r}); {AGAIN}.") from None
    if not isinstance(weights, dict) or any(Path(str(name)).name != name for name in weights.values()):
        raise CheckpointError(
            f"{path}: weight_map must give a file of the same folder for each tensor; {AGAIN}."
        )
    return weights


def listed_files(folder: Path, index: str) -> list[Path]:
    """The files that the index names, in order of name. Raises CheckpointError when one is not there."""
    listed = sorted(set(read_index(folder, index).values()))
    missing = [name for name in listed if not (folder / name).is_file()]
    if missing:
        raise CheckpointError(
            f"{folder / missing[0]} is missing ({len(missing)} of the {len(listed)} files that {index} lists "
            f"are not there); download the model again."
        )
    return [folder / name for name in listed]
