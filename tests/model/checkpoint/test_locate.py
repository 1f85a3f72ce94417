"""A model is found by path, by the built-in name or in the Hugging Face cache; a refusal says where it was sought."""

from __future__ import annotations

from pathlib import Path

import pytest

from quire.base.errors import CheckpointError
from quire.model.checkpoint import BUILTIN_MODEL, builtin_folder, locate_model
from tests.model.checkpoint.files import write_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, found through HF_HOME, with offline mode on."""
    for name in ("HF_HUB_CACHE", "XDG_CACHE_HOME", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path / "hub"


def _cached(cache: Path, name: str, revision: str = "main") -> Path:
    repository = cache / ("models--" + name.replace("/", "--"))
    (repository / "refs").mkdir(parents=True, exist_ok=True)
    (repository / "refs" / revision).write_text(COMMIT)
    return write_model(repository / "snapshots" / COMMIT)


def _locate(name: str, revision: str | None = None, download_dir: str | None = None) -> Path:
    return locate_model(name, revision=revision, download_dir=download_dir)


def test_a_folder_is_itself(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_model(tmp_path / "here")
    assert _locate(str(folder)) == folder
    monkeypatch.setenv("HOME", str(tmp_path))
    assert _locate("~/here") == folder


def test_the_built_in_model() -> None:
    assert _locate(BUILTIN_MODEL) == builtin_folder()
    assert builtin_folder().parts[-3:] == ("quire", "assets", "folio")


@pytest.mark.parametrize("name", ["org/model", "model"])
def test_a_cached_model_needs_no_network(cache: Path, name: str) -> None:
    snapshot = _cached(cache, name)
    assert _locate(name) == snapshot
    assert _locate(name, revision=COMMIT) == snapshot


def test_revisions_and_other_cache_folders(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = _cached(tmp_path / "elsewhere", "org/model", "v2")
    assert _locate("org/model", "v2", str(tmp_path / "elsewhere")) == snapshot
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "elsewhere"))
    assert _locate("org/model", "v2") == snapshot
    with pytest.raises(CheckpointError, match="offline"):
        _locate("org/model", "v3")


def test_a_read_only_cache_is_enough(cache: Path) -> None:
    snapshot = _cached(cache, "org/model")
    for folder in (cache, *(path for path in cache.rglob("*") if path.is_dir())):
        folder.chmod(0o555)
    try:
        assert _locate("org/model") == snapshot
    finally:
        for folder in (cache, *(path for path in cache.rglob("*") if path.is_dir())):
            folder.chmod(0o755)


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_says_where_it_looked(cache: Path, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv(variable, "1")
    with pytest.raises(
        CheckpointError, match=rf"'org/model' is no folder here and is not in {cache}.*offline"
    ):
        _locate("org/model")


def test_offline_tells_an_incomplete_snapshot(cache: Path) -> None:
    snapshot = _cached(cache, "org/model")
    (snapshot / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=f"lies incomplete in {snapshot}"):
        _locate("org/model")


@pytest.mark.parametrize(
    "name", ["/no/such/folder", "./nowhere", "a/b/c", "org/..", "", "two words", "~nobody/x"]
)
def test_what_is_neither_path_nor_id(cache: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match=r"neither a folder nor a model id .* like org/name"):
        _locate(name)


def test_a_file_is_not_a_folder(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"")
    with pytest.raises(CheckpointError, match="is a file; give the folder"):
        _locate(str(tmp_path / "model.gguf"))
