"""The card holds what the folder's files say, and a file that cannot be understood is named."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from quire.base.config import ExpertFacts
from quire.base.errors import CheckpointError
from quire.model.checkpoint import read_card
from tests.model.checkpoint.files import write_model


def test_facts_of_an_ordinary_folder(tmp_path: Path) -> None:
    card = read_card(write_model(tmp_path / "m", head_dim=32), name="org/m")
    assert (card.name, card.model_type, card.architecture) == ("org/m", "llama", "LlamaForCausalLM")
    assert (card.dtype, card.vocab_size, card.hidden_size, card.max_model_len) == ("bfloat16", 100, 64, 512)
    assert (card.num_layers, card.kv_heads, card.head_dim) == (2, [2, 2], 32)
    assert (card.weight_bytes, card.eos_token_ids, card.sampling_defaults) == (24, [2], {})


def test_other_names_of_the_same_facts(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    config = {
        "model_type": "gpt2",
        "n_embd": 48,
        "n_head": 3,
        "n_layer": 1,
        "n_positions": 64,
        "vocab_size": 9,
    }
    (folder / "config.json").write_text(json.dumps(config))
    card = read_card(folder, name="m")
    assert (card.hidden_size, card.kv_heads, card.head_dim, card.max_model_len) == (48, [3], 16, 64)
    assert card.dtype == "float32"


def test_experts_under_either_name(tmp_path: Path) -> None:
    facts = {"num_experts_per_tok": 2, "intermediate_size": 96}
    mixtral = write_model(tmp_path / "mixtral", model_type="mixtral", num_local_experts=8, **facts)
    assert read_card(mixtral, name="m").experts == ExpertFacts(count=8, chosen=2, width=96)
    facts |= {"moe_intermediate_size": 48}
    qwen = write_model(tmp_path / "qwen", model_type="qwen3_moe", num_experts=128, **facts)
    assert read_card(qwen, name="m").experts == ExpertFacts(count=128, chosen=2, width=48)
    assert read_card(write_model(tmp_path / "m", **facts), name="m").experts is None
    with pytest.raises(CheckpointError, match="no key 'num_experts'"):
        read_card(write_model(tmp_path / "n", model_type="olmoe", **facts), name="m")


@pytest.mark.parametrize(
    ("changes", "length"),
    [
        ({"rope_scaling": {"type": "linear", "factor": 4.0}}, 2048),
        ({"rope_scaling": {"type": "dynamic", "factor": 4.0}}, 512),
        (
            {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 100}},
            400,
        ),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, 2048),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, 512),
        ({"rope_scaling": {"type": "longrope", "factor": 8.0}}, 512),
        ({"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}}, 1024),
    ],
)
def test_longest_context_counts_the_rope_stretch(
    tmp_path: Path, changes: dict[str, Any], length: int
) -> None:
    assert read_card(write_model(tmp_path / "m", **changes), name="m").max_model_len == length


def test_overrides_are_laid_over_object_by_object(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", rope_scaling={"type": "linear", "factor": 4.0}, note="junk")
    overrides = {"rope_scaling": {"factor": 2.0}, "note": None, "max_position_embeddings": 100}
    card = read_card(folder, name="m", hf_overrides=overrides)
    assert card.max_model_len == 200
    assert card.hf_config["rope_scaling"] == {"type": "linear", "factor": 2.0}
    assert "note" not in card.hf_config


def test_generation_config_gives_sampling_defaults_and_end_tokens(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    generation = {
        "temperature": 0.6,
        "top_p": 0.9,
        "top_k": 20,
        "min_p": None,
        "repetition_penalty": 1.05,
        "max_new_tokens": 77,
        "eos_token_id": [5, 2],
        "do_sample": True,
        "cache_implementation": "hybrid",
    }
    (folder / "generation_config.json").write_text(json.dumps(generation))
    card = read_card(folder, name="m")
    assert card.eos_token_ids == [5, 2]
    assert card.sampling_defaults == {
        "temperature": 0.6,
        "top_p": 0.9,
        "top_k": 20,
        "repetition_penalty": 1.05,
        "max_tokens": 77,
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hidden_size": None}, r"config.json has no key 'hidden_size'"),
        ({"num_hidden_layers": "two"}, "num_hidden_layers is 'two'; it must be a whole number"),
        ({"model_type": "mamba"}, "model_type 'mamba' is not supported; supported are bert, .*qwen3"),
        ({"model_type": "odd", "auto_map": {"AutoModel": "x.Y"}}, "brings its own code"),
        ({"model_type": None, "architectures": ["OddForCausalLM"]}, "'OddForCausalLM' is not supported"),
        ({"torch_dtype": "int8"}, "dtype 'int8' is not supported"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "quantization_config asks for 'gptq'"),
    ],
)
def test_refusals_name_file_and_key(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(CheckpointError, match=words) as caught:
        read_card(write_model(tmp_path / "m", **changes), name="m")
    assert "config.json" in str(caught.value)


def test_architecture_stands_in_for_a_missing_model_type(tmp_path: Path) -> None:
    assert read_card(write_model(tmp_path / "m", model_type=None), name="m").model_type == "llama"


@pytest.mark.parametrize("text", ["{", "[1]", "\ufeff{}"])
def test_a_damaged_config(tmp_path: Path, text: str) -> None:
    folder = write_model(tmp_path / "m")
    (folder / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"config.json .*again"):
        read_card(folder, name="m")


def test_a_folder_without_config(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config.json does not exist: the folder is not a model"):
        read_card(tmp_path, name="m")


def test_the_door_opens_without_torch_or_the_hub() -> None:
    code = (
        "import sys, quire.model.checkpoint; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'huggingface_hub', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("key", ["hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size"])
@pytest.mark.parametrize("value", [0, -1])
def test_a_dimension_below_one_is_refused_by_name(tmp_path: Path, key: str, value: int) -> None:
    folder = write_model(tmp_path / "model", **{key: value})
    with pytest.raises(CheckpointError, match=rf"{key} .*whole number from 1 "):
        read_card(folder, name="m")
