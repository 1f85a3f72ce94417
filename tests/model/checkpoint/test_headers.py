"""Every way a safetensors folder can be damaged is told in one sentence with the file and the remedy."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from quire.base.errors import CheckpointError
from quire.model.checkpoint import read_card, verify_checkpoint
from quire.model.checkpoint.headers import read_headers
from tests.model.checkpoint.files import FACTS, write_file, write_model

INDEX = "model.safetensors.index.json"


def test_sound_files_tell_where_each_tensor_lies(tmp_path: Path) -> None:
    tensors = {
        "a": torch.arange(6.0).view(2, 3),
        "b": torch.ones(4, dtype=torch.bfloat16),
        "empty": torch.zeros(0),
    }
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    entries = read_headers(tmp_path)
    raw = (tmp_path / "model.safetensors").read_bytes()
    for name, tensor in tensors.items():
        entry = entries[name]
        assert entry.shape == tuple(tensor.shape)
        assert raw[entry.begin : entry.end] == tensor.view(torch.uint8).numpy().tobytes()


@pytest.mark.parametrize(
    ("header", "data_bytes", "words"),
    [
        ({"a": FACTS}, 23, r"cut short: its header wants \d+ bytes, the file has \d+"),
        ({"a": FACTS}, 30, "6 bytes after its last tensor"),
        (b'{"a": ', 0, "damaged header"),
        (b"\xff\xfe\x00", 0, "damaged header"),
        (b"[1]", 0, "no tensor table"),
        ({"a": {"dtype": "F32", "shape": [2, 3]}}, 24, "entry for tensor 'a'"),
        ({"a": FACTS | {"shape": [2, -3]}}, 24, "entry for tensor 'a'"),
        ({"a": FACTS | {"shape": "23"}}, 24, "entry for tensor 'a'"),
        ({"a": FACTS | {"dtype": "F33"}}, 24, "unknown dtype 'F33'"),
        ({"a": FACTS | {"shape": [2, 4]}}, 24, r"shape \[2, 4\] and dtype F32 needs 32 bytes.* spans 24"),
        ({"a": FACTS, "b": FACTS | {"data_offsets": [12, 36]}}, 36, "'b' overlaps"),
        ({"a": FACTS, "b": FACTS | {"data_offsets": [32, 56]}}, 56, "'b' leaves a gap"),
    ],
)
def test_damage_is_named(tmp_path: Path, header: dict[str, Any] | bytes, data_bytes: int, words: str) -> None:
    path = write_file(tmp_path / "model.safetensors", header, data_bytes)
    with pytest.raises(CheckpointError, match=words) as caught:
        read_headers(tmp_path)
    assert str(path) in str(caught.value)
    assert "again" in str(caught.value)


@pytest.mark.parametrize("kept_bytes", [0, 7, 8, 40])
def test_truncation_anywhere_is_noticed(tmp_path: Path, kept_bytes: int) -> None:
    folder = write_model(tmp_path / "model")
    card = read_card(folder, name="m")
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept_bytes])
    with pytest.raises(CheckpointError, match=r"model.safetensors (is|has).*again"):
        verify_checkpoint(card)


def test_every_single_byte_short_is_noticed(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    for kept in range(len(whole)):
        path.write_bytes(whole[:kept])
        with pytest.raises(CheckpointError):
            read_headers(folder)


def test_git_lfs_pointer_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    )
    with pytest.raises(CheckpointError, match="git lfs pull"):
        read_headers(tmp_path)


def test_an_absurd_header_length_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(CheckpointError, match="no safetensors file"):
        read_headers(tmp_path)


def _write_shards(folder: Path, weight_map: dict[str, str]) -> None:
    for number, name in enumerate("ab", start=1):
        write_file(folder / f"model-0000{number}-of-00002.safetensors", {name: FACTS}, 24)
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


WEIGHT_MAP = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}


def test_shards_are_read_by_their_index(tmp_path: Path) -> None:
    _write_shards(tmp_path, WEIGHT_MAP)
    write_file(tmp_path / "other.safetensors", b"damaged, but not listed", 0)
    assert {name: entry.file.name for name, entry in read_headers(tmp_path).items()} == WEIGHT_MAP


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    _write_shards(tmp_path, WEIGHT_MAP)
    (tmp_path / WEIGHT_MAP["b"]).unlink()
    with pytest.raises(
        CheckpointError, match=r"model-00002-of-00002.safetensors is missing \(1 of the 2 files"
    ):
        read_headers(tmp_path)


def test_a_tensor_the_index_lists_in_vain(tmp_path: Path) -> None:
    _write_shards(tmp_path, WEIGHT_MAP | {"c": WEIGHT_MAP["a"]})
    with pytest.raises(CheckpointError, match="tensor 'c' is listed in"):
        read_headers(tmp_path)


def test_a_tensor_in_two_files(tmp_path: Path) -> None:
    _write_shards(tmp_path, WEIGHT_MAP)
    write_file(tmp_path / WEIGHT_MAP["b"], {"a": FACTS}, 24)
    with pytest.raises(CheckpointError, match=r"tensor 'a' is also in model-00001"):
        read_headers(tmp_path)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"weight_map": ["a"]}', '{"weight_map": {"a": "../a.safetensors"}}']
)
def test_a_damaged_index(tmp_path: Path, text: str) -> None:
    (tmp_path / INDEX).write_text(text)
    with pytest.raises(CheckpointError, match=INDEX):
        read_headers(tmp_path)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("pytorch_model.bin", "--load-format pt reads this one"),
        ("model.pt", "--load-format pt reads this one"),
        ("model.gguf", "convert the model"),
    ],
)
def test_other_formats_are_refused_by_name(tmp_path: Path, name: str, remedy: str) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "model.safetensors").rename(folder / name)
    card = read_card(folder, name="m")
    assert card.weight_bytes == 0  # enough for dummy weights
    with pytest.raises(CheckpointError, match=rf"{name}: .*{remedy}"):
        verify_checkpoint(card)


def test_a_folder_without_weights_is_refused_unless_they_are_dummy(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"holds no weights .* --load-format dummy"):
        verify_checkpoint(read_card(folder, name="m"))


def test_a_large_model_is_judged_quickly(tmp_path: Path) -> None:
    """300 tensors in 4 files of 1 GB each, sparse on disk: only headers are read."""
    weight_map = {}
    for shard in range(4):
        size = (1 << 30) // 75 // 4 * 4
        header = {
            f"layer.{shard}.{index}": {
                "dtype": "F32",
                "shape": [size // 4],
                "data_offsets": [index * size, (index + 1) * size],
            }
            for index in range(75)
        }
        path = write_file(tmp_path / f"model-{shard}.safetensors", header, 0)
        with path.open("ab") as stream:
            stream.truncate(path.stat().st_size + 75 * size)
        weight_map |= dict.fromkeys(header, path.name)
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": weight_map}))
    started_s = time.process_time()
    assert len(read_headers(tmp_path)) == 300
    assert time.process_time() - started_s < 0.1
