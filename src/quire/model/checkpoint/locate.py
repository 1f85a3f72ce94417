"""From a model's name to its folder: a local path, the built-in model, the Hugging Face cache, or a download.

The cache is looked up by its documented layout, which takes no network, no write permission and no import:

    <cache>/models--<org>--<name>/refs/<revision>          holds a commit
    <cache>/models--<org>--<name>/snapshots/<commit>/      holds the files (links into ../../blobs)
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from quire.base.errors import CheckpointError
from quire.model.checkpoint.headers import weight_files
from quire.model.checkpoint.pickled import pickled_files

BUILTIN_MODEL = "quire-folio"
DEFAULT_REVISION = "main"


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadOptions:
    """How to download: the access token (True for the stored login, None for whatever the hub's tools find), shell
    patterns of files to leave out, whether to show a progress bar, and whether the weights wanted are torch's own
    files (.bin, .pt) instead of safetensors."""

    token: str | bool | None = None
    ignore_patterns: tuple[str, ...] = ()
    shows_progress: bool = True
    pickled: bool = False


DEFAULT_DOWNLOAD = DownloadOptions()
_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_TRUE = ("1", "true", "yes", "on")


def builtin_folder() -> Path:
    """The folder of the model that comes with Quire."""
    return Path(__file__).parents[2] / "assets" / "folio"


def locate_model(
    name: str,
    *,
    revision: str | None,
    download_dir: str | None,
    offline: bool | None = None,
    download: DownloadOptions = DEFAULT_DOWNLOAD,
) -> Path:
    """The folder of a model given by path, by the built-in model's name or by Hugging Face id.

    `download_dir` replaces the Hugging Face cache folder; `offline` None follows HF_HUB_OFFLINE and
    TRANSFORMERS_OFFLINE. Raises CheckpointError saying what was looked for, where, and what to do.
    """
    if name == BUILTIN_MODEL:
        return builtin_folder()
    local = Path(name).expanduser()
    if name and local.is_dir():
        return local
    if local.is_file():
        raise CheckpointError(
            f"{name} is a file; give the folder that holds config.json and the safetensors files."
        )
    if not _ID.fullmatch(name) or ".." in name:
        raise CheckpointError(
            f"{name!r} is neither a folder nor a model id in Hugging Face's form; give a path or an id like org/name."
        )
    cache = Path(download_dir).expanduser() if download_dir else hub_cache()
    found = find_in_cache(cache, name, revision or DEFAULT_REVISION)
    if found is not None and is_complete(found, pickled=download.pickled):
        return found
    if _is_offline() if offline is None else offline:
        state = f"lies incomplete in {found}" if found else f"is not in {cache}"
        raise CheckpointError(
            f"{name!r} is no folder here and {state}, and offline mode is on (HF_HUB_OFFLINE); "
            f"download it once with network access, or give a path."
        )
    from quire.model.checkpoint.download import download_model

    return download_model(name, revision or DEFAULT_REVISION, cache, download)


def hub_cache() -> Path:
    """Where Hugging Face tools keep downloaded models, by their own environment variables."""
    if os.environ.get("HF_HUB_CACHE"):
        return Path(os.environ["HF_HUB_CACHE"]).expanduser()
    general = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or os.path.join(general, "huggingface")
    return Path(home).expanduser() / "hub"


def find_in_cache(cache: Path, name: str, revision: str) -> Path | None:
    """The snapshot of `revision` (branch, tag or commit) if any of it is in the cache."""
    repository = cache / ("models--" + name.replace("/", "--"))
    reference = repository / "refs" / revision
    try:
        commit = reference.read_text("utf-8").strip() if reference.is_file() else revision
    except OSError:
        return None
    snapshot = repository / "snapshots" / commit
    return snapshot if commit and snapshot.is_dir() else None


def is_complete(folder: Path, *, pickled: bool = False) -> bool:
    """Whether config.json and all weight files are there (their insides are judged later)."""
    try:
        return (folder / "config.json").is_file() and bool(
            pickled_files(folder) if pickled else weight_files(folder)
        )
    except CheckpointError:
        return False


def _is_offline() -> bool:
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return any(os.environ.get(name, "").strip().lower() in _TRUE for name in names)
