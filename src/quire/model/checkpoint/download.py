"""Downloading a model from the Hugging Face hub into its cache, with one progress display for all files."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from quire.base.errors import CheckpointError
from quire.base.observe import Progress
from quire.model.checkpoint.locate import DownloadOptions

WANTED_SUFFIXES = (".json", ".jinja", ".txt", ".model")
PICKLED_SUFFIXES = (".bin", ".pt", ".pth")
UNWANTED_PREFIXES = ("consolidated", "adapter_", "README", "LICENSE")
PARALLEL_FILES = 4
POLL_S = 0.25


@dataclass(frozen=True, slots=True)
class RemoteFile:
    name: str
    size_bytes: int


def download_model(name: str, revision: str, cache: Path, options: DownloadOptions) -> Path:
    """Fetches what serving needs (configuration, tokenizer, templates, safetensors) and returns the snapshot.

    Raises CheckpointError when the model or revision does not exist, access is refused, the network fails, the
    repository has no safetensors or the disk is too full.
    """
    import huggingface_hub
    from huggingface_hub.utils.tqdm import disable_progress_bars

    endpoint = os.environ.get("HF_ENDPOINT") or None
    try:
        commit, files = _list_files(name, revision, endpoint, options)
        _check_space(name, files, cache)
        disable_progress_bars()
        cache.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(PARALLEL_FILES, "download") as pool:
            jobs = [
                pool.submit(
                    huggingface_hub.hf_hub_download,
                    name,
                    file.name,
                    revision=commit,
                    cache_dir=cache,
                    endpoint=endpoint,
                    token=options.token,
                )
                for file in files
            ]
            try:
                _follow(name, jobs, files, cache, options.shows_progress)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        snapshot = Path(jobs[0].result()).parent
        _remember(snapshot, revision)
    except CheckpointError:
        raise
    except Exception as error:  # of any kind: the hub's transport library changes from release to release
        raise CheckpointError(_explain(error, name, revision)) from error
    return snapshot


def _list_files(
    name: str, revision: str, endpoint: str | None, options: DownloadOptions
) -> tuple[str, list[RemoteFile]]:
    """The commit `revision` stands for, and its files worth having."""
    from huggingface_hub import HfApi

    info = HfApi(endpoint=endpoint, token=options.token).model_info(
        name, revision=revision, files_metadata=True
    )
    weights = PICKLED_SUFFIXES if options.pickled else (".safetensors",)
    remote = [RemoteFile(item.rfilename, item.size or 0) for item in info.siblings or []]
    files = [
        file
        for file in remote
        if _is_wanted(file.name, weights)
        and not any(fnmatch(file.name, pattern) for pattern in options.ignore_patterns)
    ]
    if not any(file.name == "config.json" for file in files):
        raise CheckpointError(
            f"{name} on the hub has no config.json: it is not a model in Hugging Face format."
        )
    if not any(file.name.endswith(weights) for file in files):
        has_pickled = any(file.name.endswith(PICKLED_SUFFIXES) for file in remote)
        remedy = (
            "--load-format pt reads its .bin or .pt files, restricted to tensors"
            if has_pickled and not options.pickled
            else "pick a repository that has them, or convert it with transformers' save_pretrained"
        )
        raise CheckpointError(f"{name} on the hub has no weights in {' or '.join(weights)} files; {remedy}.")
    return str(info.sha), files


def _is_wanted(file_name: str, weights: tuple[str, ...]) -> bool:
    return (
        "/" not in file_name
        and file_name.endswith((*WANTED_SUFFIXES, *weights))
        and not file_name.startswith(UNWANTED_PREFIXES)
    )


def _check_space(name: str, files: list[RemoteFile], cache: Path) -> None:
    missing = sum(file.size_bytes for file in files) - _bytes_present(name, cache)
    existing = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if missing > free:
        raise CheckpointError(
            f"{name} needs {missing / 1e9:.2f} GB in {cache}, where {free / 1e9:.2f} GB are free; "
            f"free some space or choose another place with --download-dir."
        )


def _bytes_present(name: str, cache: Path) -> int:
    """Bytes of the repository's blobs on disk, finished or under way."""
    blobs = cache / ("models--" + name.replace("/", "--")) / "blobs"
    total = 0
    for path in blobs.glob("*"):
        try:
            status = path.stat()
        except OSError:  # a partial file was just renamed
            continue
        total += min(status.st_size, status.st_blocks * 512)  # a preallocated file is not there yet
    return total


def _follow(name: str, jobs: list[Any], files: list[RemoteFile], cache: Path, show: bool) -> None:
    """Waits for all downloads, showing progress from what is on disk; the first failure ends the wait."""
    total_bytes = sum(file.size_bytes for file in files)
    display = Progress(name, total_bytes, _bytes_present(name, cache)) if show else None
    pending = set(jobs)
    while pending:
        done, pending = wait(pending, timeout=POLL_S)
        for job in done:
            job.result()
        if display:
            display.update(_bytes_present(name, cache) if pending else total_bytes)
    if display:
        display.finish()


def _remember(snapshot: Path, revision: str) -> None:
    """Notes which commit a branch or tag stood for, as the cache layout has it, so that it is found offline."""
    if revision != snapshot.name:
        reference = snapshot.parent.parent / "refs" / revision
        reference.parent.mkdir(parents=True, exist_ok=True)
        reference.write_text(snapshot.name, "utf-8")


def _explain(error: Exception, name: str, revision: str) -> str:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    if isinstance(error, GatedRepoError):
        return f"{name} is gated on the hub: accept its terms on its page, then set HF_TOKEN to your access token."
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"{name!r} is neither a folder here nor a model on the hub (or it is private: set HF_TOKEN); "
            f"give a path or an id like org/name."
        )
    if isinstance(error, RevisionNotFoundError):
        return f"{name} has no revision {revision!r} on the hub; give one of its branches, tags or commits."
    if isinstance(error, OSError) and error.errno is not None and error.filename:
        return (
            f"{name} could not be stored: {error.strerror} ({error.filename}); choose another --download-dir."
        )
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return (
        f"{name!r} is no folder here and the hub could not be reached ({type(error).__name__}: {reason}); "
        f"check the network or give the path of a downloaded folder."
    )
