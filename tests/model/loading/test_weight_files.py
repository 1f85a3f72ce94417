"""Torch's own weight files: the same network as from safetensors, nothing but tensors, damage named (T-05)."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import msgspec
import pytest
import torch
from safetensors.torch import load_file

from quire.base.errors import CheckpointError
from quire.model.checkpoint import read_card, verify_checkpoint
from quire.model.loading import load_model
from tests.model.tiny import Driver, engine_config, random_prompts, tiny_checkpoint, tiny_model

PROMPTS = random_prompts((5, 40))


def _as_bin(folder: Path) -> Path:
    """The folder with its weights in `pytorch_model.bin` instead."""
    weights = folder / "model.safetensors"
    torch.save(load_file(weights), folder / "pytorch_model.bin")
    weights.unlink()
    return folder


def _load(folder: Path):
    card = read_card(folder, name="m", reads_pickled=True)
    verify_checkpoint(card, "pt")
    return load_model(msgspec.structs.replace(engine_config(folder), card=card, load_format="pt"))


@pytest.mark.parametrize("model_type", ["llama", "gpt2", "opt"])
def test_the_network_is_the_same(tmp_path: Path, model_type: str) -> None:
    folder = tiny_checkpoint(model_type, tmp_path / "mapped")
    expected = Driver(load_model(engine_config(folder)), torch.float32).run(PROMPTS, 64)
    copy = _as_bin(Path(shutil.copytree(folder, tmp_path / "pickled")))
    found = Driver(_load(copy), torch.float32).run(PROMPTS, 64)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_shards_and_the_measured_size(tmp_path: Path) -> None:
    model = tiny_model("llama")
    model.save_pretrained(tmp_path)
    whole = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    names = sorted(whole)
    files = {name: f"pytorch_model-0000{1 + number % 2}-of-00002.bin" for number, name in enumerate(names)}
    for file in set(files.values()):
        torch.save({name: whole[name] for name in names if files[name] == file}, tmp_path / file)
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": files}))
    assert read_card(tmp_path, name="m", reads_pickled=True).weight_bytes == sum(
        t.nbytes for t in whole.values()
    )
    weight = _load(tmp_path).get_parameter("embedding.weight")
    assert torch.equal(weight, whole["model.embed_tokens.weight"])
    (tmp_path / files[names[0]]).unlink()
    with pytest.raises(CheckpointError, match="is missing"):
        _load(tmp_path)


class Bomb:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (str(self.canary),)


def test_a_pickle_that_holds_code_runs_none(tmp_path: Path) -> None:
    folder, canary = tiny_checkpoint("llama", tmp_path / "m"), tmp_path / "canary"
    _as_bin(folder)
    torch.save({"model.embed_tokens.weight": Bomb(canary)}, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"holds more than tensors|no weights"):
        _load(folder)
    torch.save({"a": torch.ones(2), "b": Bomb(canary)}, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="holds more than tensors"):
        _load(folder)
    assert not canary.exists()


@pytest.mark.parametrize(
    "content", [[1, 2], {"a": 1}, {"a": {"b": torch.ones(1)}}], ids=["list", "number", "nested"]
)
def test_what_is_no_checkpoint_is_named(tmp_path: Path, content: object) -> None:
    folder = _as_bin(tiny_checkpoint("llama", tmp_path / "m"))
    torch.save(content, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"it is no checkpoint|no weights"):
        _load(folder)


@pytest.mark.parametrize("size", [0, 10, 3000, -1])
def test_a_cut_file_is_named(tmp_path: Path, size: int) -> None:
    folder = _as_bin(tiny_checkpoint("llama", tmp_path / "m"))
    file = folder / "pytorch_model.bin"
    os.truncate(file, size % file.stat().st_size)
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin is not a weight file"):
        _load(folder)


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    folder = _as_bin(tiny_checkpoint("llama", tmp_path / "m"))
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
    del weights["model.norm.weight"]
    torch.save(weights, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"'model\.norm\.weight' is missing"):
        _load(folder)
