"""T-05, T-06, T-09: a folder from a stranger runs no code and its numbers are not believed."""

from __future__ import annotations

import json
import pickle
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import quire
from quire.base.errors import CheckpointError
from quire.model.checkpoint.headers import read_headers
from tests.security.conftest import writes_canary
from tests.security.test_sockets import Bomb

BUILT_IN = Path(quire.__file__).parent / "assets" / "folio"


def serve(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "quire", "serve", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the built-in model that a test may spoil."""
    copy = tmp_path / "model"
    shutil.copytree(BUILT_IN, copy)
    return copy


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "consolidated.00.pth", "model.ckpt"])
def test_pickled_weights_are_refused_by_name(folder: Path, canary: Path, name: str) -> None:
    """T-05: CVE-2025-24357, CVE-2025-32434. Not even looked into."""
    for weights in folder.glob("*.safetensors*"):
        weights.unlink()
    (folder / name).write_bytes(pickle.dumps(Bomb(canary)))
    done = serve(folder)
    assert done.returncode not in (0, -9)
    assert name in done.stderr or "safetensors" in done.stderr
    assert "Traceback" not in done.stderr
    assert not canary.exists()


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("config.json", {"auto_map": {"AutoModelForCausalLM": "evil.Model", "AutoConfig": "evil.Config"}}),
        ("config.json", {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config"}}),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["evil.Tokenizer", None]}}),
        ("tokenizer_config.json", {"tokenizer_class": "evil.Tokenizer"}),
        ("generation_config.json", {"custom_generate": "evil", "auto_map": {"x": "evil.y"}}),
    ],
)
def test_code_a_folder_brings_is_not_run(
    folder: Path, canary: Path, file: str, values: dict[str, Any]
) -> None:
    """T-06: CVE-2025-66448, CVE-2026-22807, CVE-2026-27893. Quire never runs a checkpoint's code; there is no flag
    that makes it."""
    code = writes_canary(canary)
    for name in ("evil.py", "__init__.py", "conftest.py", "sitecustomize.py", "custom_generate/generate.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(code)
    path = folder / file
    if not path.exists():
        path.write_text("{}")
    change(path, **values)
    check = (
        "import sys\nfrom quire.api.llm import LLM\nfrom quire.base.errors import QuireError\n"
        "try:\n    LLM(sys.argv[1])\nexcept QuireError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", check, str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=folder.parent,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert not canary.exists()


def header_file(path: Path, header: dict[str, Any], data_bytes: int = 64) -> None:
    encoded = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + bytes(data_bytes))


@pytest.mark.parametrize(
    "tensor",
    [
        {"dtype": "F32", "shape": [2**31, 2**31], "data_offsets": [0, 64]},
        {"dtype": "F32", "shape": [2**32, 1], "data_offsets": [0, 0]},
        {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 64]},
        {"dtype": "F32", "shape": [2**63, 2], "data_offsets": [0, 0]},
        {"dtype": "F32", "shape": [10**30], "data_offsets": [0, 64]},
        {"dtype": "F32", "shape": [-4, -4], "data_offsets": [0, 64]},
        {"dtype": "F32", "shape": [4.0, 4], "data_offsets": [0, 64]},
        {"dtype": "F32", "shape": [True, 16], "data_offsets": [0, 64]},
        {"dtype": "F32", "shape": [16], "data_offsets": [0, 2**63]},
        {"dtype": "F32", "shape": [16], "data_offsets": [64, 0]},
        {"dtype": "F32", "shape": [16], "data_offsets": [-64, 0]},
        {"dtype": "F32", "shape": [16], "data_offsets": [64, 128]},
        {"dtype": "F32", "shape": "16", "data_offsets": [0, 64]},
        {"dtype": "Q9_Z", "shape": [16], "data_offsets": [0, 64]},
        {"dtype": "F32", "shape": [16]},
        [],
    ],
)
def test_headers_that_lie_are_named(tmp_path: Path, tensor: Any) -> None:
    """T-09: CVE-2026-53923 and llama.cpp's CVE-2026-27940: products that overflow, offsets past the end."""
    header_file(tmp_path / "model.safetensors", {"w": tensor})
    with pytest.raises(CheckpointError) as caught:
        read_headers(tmp_path)
    assert "model.safetensors" in str(caught.value)


def test_tensors_that_overlap_are_named(tmp_path: Path) -> None:
    """T-09."""
    header = {
        "a": {"dtype": "F32", "shape": [16], "data_offsets": [0, 64]},
        "b": {"dtype": "F32", "shape": [8], "data_offsets": [32, 64]},
    }
    header_file(tmp_path / "model.safetensors", header)
    with pytest.raises(CheckpointError):
        read_headers(tmp_path)
