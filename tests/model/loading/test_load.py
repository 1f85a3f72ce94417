"""Loading fills every parameter from the right tensor, or names the one that does not fit."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
import torch
from safetensors.torch import load_file, save_file

from quire.base.errors import CheckpointError
from quire.model.kernels import Prepared
from quire.model.loading import build_network, load_model
from tests.model.tiny import Driver, engine_config, load_tiny, random_prompts, tiny_checkpoint, tiny_model

PROMPTS = random_prompts((5, 40))


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    return tiny_checkpoint("llama", tmp_path / "llama")


def _logits(folder: Path) -> list[torch.Tensor]:
    return Driver(load_tiny(folder), torch.float32).run(PROMPTS, 64)


def test_shards_equal_the_single_file(llama: Path, tmp_path: Path) -> None:
    tiny_model("llama").save_pretrained(tmp_path / "sharded", max_shard_size="100KB")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 2
    for sharded, single in zip(_logits(tmp_path / "sharded"), _logits(llama), strict=True):
        assert torch.equal(sharded, single)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux's list of mapped files")
def test_a_tensor_in_the_right_dtype_is_not_copied(llama: Path) -> None:
    weight = load_tiny(llama).get_parameter("embedding.weight")
    maps = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    ranges = [line[0].split("-") for line in maps if line[-1] == str(llama / "model.safetensors")]
    assert any(int(start, 16) <= weight.data_ptr() < int(end, 16) for start, end in ranges)
    assert torch.equal(weight, load_file(llama / "model.safetensors")["model.embed_tokens.weight"])


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux's list of mapped files")
def test_eager_reading_leaves_no_file_mapped(llama: Path) -> None:
    config = msgspec.structs.replace(engine_config(llama), read_strategy="eager")
    weight = load_model(config).get_parameter("embedding.weight")
    assert str(llama) not in Path("/proc/self/maps").read_text()
    assert torch.equal(weight, load_file(llama / "model.safetensors")["model.embed_tokens.weight"])


def test_weights_are_cast_to_the_wanted_dtype(llama: Path) -> None:
    network = load_tiny(llama, dtype="bfloat16")
    assert {parameter.dtype for parameter in network.parameters()} == {torch.bfloat16}
    stored = load_file(llama / "model.safetensors")
    stacked = torch.cat([stored[f"model.layers.1.self_attn.{part}_proj.weight"] for part in "qkv"])
    weight = network.get_submodule("blocks.1.attention.qkv").weight
    rows = weight.rows(torch.arange(len(stacked))) if isinstance(weight, Prepared) else weight
    assert torch.equal(rows, stacked.bfloat16())


def test_progress_counts_bytes_up_to_the_total(llama: Path) -> None:
    config = engine_config(llama)
    seen: list[tuple[int, int]] = []
    load_model(config, lambda done, total: seen.append((done, total)))
    assert {total for _, total in seen} == {config.card.weight_bytes}
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert seen[-1][0] == config.card.weight_bytes


def test_tied_heads_need_no_tensor_of_their_own(tmp_path: Path) -> None:
    folder = tiny_checkpoint("qwen3", tmp_path / "qwen3", tie_word_embeddings=True)
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")
    oracle = tiny_model("qwen3", tie_word_embeddings=True)
    with torch.no_grad():
        want = oracle(torch.tensor([PROMPTS[1]])).logits[0]
    torch.testing.assert_close(_logits(folder)[1], want, rtol=0.0, atol=1e-4)


def _rewrite(folder: Path, change: dict[str, torch.Tensor | None]) -> None:
    """Adds and replaces tensors of the folder's file; None removes one."""
    tensors: dict[str, torch.Tensor | None] = {**load_file(folder / "model.safetensors"), **change}
    save_file(
        {name: tensor for name, tensor in tensors.items() if tensor is not None}, folder / "model.safetensors"
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"model.layers.0.mlp.router.weight": torch.zeros(2, 2)},
            r"tensor 'model.layers.0.mlp.router.weight' has no place",
        ),
        (
            {"model.layers.2.mlp.up_proj.weight": None},
            r"tensor 'model.layers.2.mlp.up_proj.weight' is missing",
        ),
        (
            {"model.norm.weight": torch.zeros(65)},
            r"tensor 'model.norm.weight' has shape \[65\].* asks for \[64\]",
        ),
        (
            {"model.layers.0.self_attn.k_proj.weight": torch.zeros(32, 60)},
            r"model.layers.0.self_attn.q_proj.weight' has shape \[64, 64\] \+ \[32, 60\] \+ \[32, 64\]",
        ),
    ],
    ids=["left over", "missing", "wrong shape", "wrong shape in a stack"],
)
def test_misfits_are_named(llama: Path, change: dict[str, torch.Tensor | None], words: str) -> None:
    _rewrite(llama, change)
    with pytest.raises(CheckpointError, match=words):
        load_tiny(llama)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"6.up_proj": None}, r"tensor 'model.layers.1.mlp.experts.6.up_proj.weight' is missing"),
        ({"7.up_proj": torch.zeros(96, 64)}, r"experts.7.up_proj.weight' has no place"),
        (
            {"5.up_proj": torch.zeros(80, 64)},
            r"experts.5.gate_proj.weight' has shape \[96, 64\] \+ \[80, 64\], .* asks for \[192, 64\] in all",
        ),
        (
            {"0.gate_proj": torch.zeros(97, 64), "1.gate_proj": torch.zeros(95, 64)},
            r"experts.0.gate_proj.weight' has shape \[97, 64\]",
        ),
    ],
    ids=["missing", "one too many", "wrong shape", "wrong shapes that add up"],
)
def test_misfits_among_experts_are_named(
    change: dict[str, torch.Tensor | None], words: str, tmp_path: Path
) -> None:
    folder = tiny_checkpoint("olmoe", tmp_path / "olmoe")
    _rewrite(folder, {f"model.layers.1.mlp.experts.{name}.weight": tensor for name, tensor in change.items()})
    with pytest.raises(CheckpointError, match=words):
        load_tiny(folder)


def test_known_buffers_are_passed_over(llama: Path) -> None:
    _rewrite(llama, {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.zeros(8)})
    load_tiny(llama)


def test_dummy_weights_need_no_files(llama: Path) -> None:
    (llama / "model.safetensors").unlink()
    config = engine_config(llama)
    assert config.card.weight_bytes == 0
    with pytest.raises(CheckpointError, match="--load-format dummy"):
        load_model(config, None)
    seen: list[tuple[int, int]] = []
    dummy = msgspec.structs.replace(config, load_format="dummy")
    network = load_model(dummy, lambda done, total: seen.append((done, total)))
    assert (
        seen[-1][0] == seen[-1][1] == sum(parameter.nbytes for parameter in build_network(dummy).parameters())
    )
    first = Driver(network, torch.float32).run(PROMPTS, 64)
    again = Driver(load_model(dummy, None), torch.float32).run(PROMPTS, 64)
    assert all(logits.isfinite().all() for logits in first)
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


def test_dummy_experts(tmp_path: Path) -> None:
    folder = tiny_checkpoint("qwen3_moe", tmp_path / "moe")
    (folder / "model.safetensors").unlink()
    network = load_model(msgspec.structs.replace(engine_config(folder), load_format="dummy"))
    assert all(logits.isfinite().all() for logits in Driver(network, torch.float32).run(PROMPTS, 64))


def test_a_config_that_does_not_belong_to_the_files(llama: Path) -> None:
    path = llama / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"intermediate_size": 100}))
    with pytest.raises(CheckpointError, match=r"gate_proj.weight' has shape .* asks for \[200, 64\] in all"):
        load_tiny(llama)
