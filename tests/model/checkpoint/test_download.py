"""Downloads, against a small hub on loopback that speaks the few routes the client uses."""

from __future__ import annotations

import hashlib
import http.server
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from quire.base.errors import CheckpointError
from quire.model.checkpoint import DownloadOptions, locate_model, read_card
from tests.model.checkpoint.files import write_model

COMMIT = "fedcba9876543210fedcba9876543210fedcba98"


class Hub(http.server.ThreadingHTTPServer):
    """Serves the folder `files` as the repository org/model at COMMIT, branch main."""

    def __init__(self, files: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = files
        self.sizes: dict[str, int] = {}  # announced instead of the real ones
        self.requests: list[str] = []
        self.tokens: set[str | None] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, format: str, *arguments: object) -> None:
        """Silence."""

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        self.server.requests.append(path)
        self.server.tokens.add(self.headers["Authorization"])
        if path.startswith("/api/models/org/model/revision/"):
            revision = path.rpartition("/")[2]
            found = revision in ("main", COMMIT)
            self._send(
                200 if found else 404, self._listing() if found else b"", with_body, "RevisionNotFound"
            )
        elif path.startswith(f"/org/model/resolve/{COMMIT}/"):
            self._send(200, (self.server.files / path.rpartition("/")[2]).read_bytes(), with_body, "")
        else:
            self._send(404, b"", with_body, "RepoNotFound")

    def _listing(self) -> bytes:
        siblings = [
            {"rfilename": file.name, "size": self.server.sizes.get(file.name, file.stat().st_size)}
            for file in sorted(self.server.files.iterdir())
        ]
        return json.dumps(
            {"id": "org/model", "modelId": "org/model", "sha": COMMIT, "siblings": siblings}
        ).encode()

    def _send(self, status: int, body: bytes, with_body: bool, error_code: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        if status != 200:
            self.send_header("X-Error-Code", error_code)
        self.end_headers()
        if with_body:
            self.wfile.write(body)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    files = write_model(tmp_path / "remote")
    (files / "tokenizer.json").write_text("{}")
    (files / "chat_template.jinja").write_text("{{ messages }}")
    (files / "pytorch_model.bin").write_bytes(b"unwanted")
    (files / "README.md").write_text("unwanted")
    server = Hub(files)
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def _locate(cache: Path, name: str = "org/model", revision: str | None = None) -> Path:
    return locate_model(name, revision=revision, download_dir=str(cache))


def test_what_serving_needs_is_fetched_once(
    hub: Hub, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = _locate(tmp_path / "cache")
    assert sorted(file.name for file in folder.iterdir()) == [
        "chat_template.jinja",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    assert read_card(folder, name="org/model").weight_bytes == 24
    shown = capfd.readouterr().err
    assert "org/model: " in shown
    assert "(100 %)" in shown
    assert "\r" not in shown
    assert "\x1b" not in shown
    asked = len(hub.requests)
    assert _locate(tmp_path / "cache") == folder
    assert _locate(tmp_path / "cache", revision=COMMIT) == folder
    assert len(hub.requests) == asked


def test_options_of_a_download(hub: Hub, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    options = DownloadOptions(
        token="hf_secret", ignore_patterns=("*.jinja", "original/**/*"), shows_progress=False
    )
    folder = locate_model("org/model", revision=None, download_dir=str(tmp_path / "cache"), download=options)
    assert not (folder / "chat_template.jinja").exists()
    assert (folder / "tokenizer.json").exists()
    assert hub.tokens == {"Bearer hf_secret"}
    assert "org/model: " not in capfd.readouterr().err


def test_only_the_wanted_kind_of_weights_is_downloaded(hub: Hub, tmp_path: Path) -> None:
    mapped = _locate(tmp_path / "mapped")
    pickled = locate_model(
        "org/model",
        revision=None,
        download_dir=str(tmp_path / "pickled"),
        download=DownloadOptions(pickled=True),
    )
    assert {path.suffix for path in mapped.iterdir()} & {".safetensors", ".bin"} == {".safetensors"}
    assert {path.suffix for path in pickled.iterdir()} & {".safetensors", ".bin"} == {".bin"}


def test_options_come_from_the_settings(hub: Hub, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from quire.api.startup import prepare_startup
    from quire.base.config import Asked

    words = [
        "org/model",
        "--download-dir",
        str(tmp_path / "cache"),
        "--hf-token",
        "abc",
        "--no-use-tqdm-on-load",
    ]
    asked = Asked.from_arguments([*words, "--ignore-patterns", "*.jinja"], {})
    prepare_startup(asked)
    assert hub.tokens == {"Bearer abc"}
    assert not list((tmp_path / "cache").rglob("*.jinja"))
    assert "org/model: " not in capfd.readouterr().err


def test_an_incomplete_snapshot_is_completed(hub: Hub, tmp_path: Path) -> None:
    folder = _locate(tmp_path / "cache")
    (folder / "model.safetensors").unlink()
    assert (_locate(tmp_path / "cache") / "model.safetensors").is_file()


def test_unknown_models_and_revisions_are_named(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="'org/other' is neither a folder here nor a model on the hub"):
        _locate(tmp_path / "cache", "org/other")
    with pytest.raises(CheckpointError, match="no revision 'v9'"):
        _locate(tmp_path / "cache", revision="v9")


def test_a_full_disk_is_noticed_before_the_download(hub: Hub, tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    hub.sizes["model.safetensors"] = free + (1 << 40)
    with pytest.raises(CheckpointError, match=r"needs [\d.]+ GB in .* GB are free; free some space"):
        _locate(tmp_path / "cache")
    assert not any("resolve" in path for path in hub.requests)


def test_a_repository_without_safetensors_is_refused_unread(hub: Hub, tmp_path: Path) -> None:
    (hub.files / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"no weights in \.safetensors files; --load-format pt"):
        _locate(tmp_path / "cache")


def test_a_hub_out_of_reach_is_one_sentence(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(CheckpointError, match=r"could not be reached .* check the network") as caught:
        _locate(tmp_path / "cache")
    assert "\n" not in str(caught.value)
