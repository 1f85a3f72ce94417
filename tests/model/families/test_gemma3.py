"""Gemma 3 as its image-reading releases store it: the text part nested in config.json and renamed in the files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.model.tiny import Driver, load_tiny, random_prompts, tiny_checkpoint, tiny_model


@pytest.mark.parametrize("prefix", ["language_model.model.", "model.language_model."])
def test_text_part_of_a_multimodal_checkpoint(prefix: str, tmp_path: Path) -> None:
    folder = tiny_checkpoint("gemma3_text", tmp_path / "gemma3")
    tensors = load_file(folder / "model.safetensors")
    nested = {prefix + name.removeprefix("model."): tensor for name, tensor in tensors.items()}
    nested["vision_tower.patch.weight"] = torch.zeros(2, 2)
    nested["multi_modal_projector.norm.weight"] = torch.zeros(2)
    save_file(nested, folder / "model.safetensors")
    text = json.loads((folder / "config.json").read_text())
    whole = {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "model_type": "gemma3",
        "dtype": text.pop("dtype"),
        "eos_token_id": [0, 7],
        "text_config": {
            key: value for key, value in text.items() if key not in ("architectures", "eos_token_id")
        },
        "vision_config": {"hidden_size": 2},
    }
    (folder / "config.json").write_text(json.dumps(whole))
    (folder / "generation_config.json").unlink(missing_ok=True)
    network = load_tiny(folder)
    prompt = random_prompts((60,))[0]
    with torch.no_grad():
        want = tiny_model("gemma3_text")(torch.tensor([prompt])).logits[0]
    torch.testing.assert_close(Driver(network, torch.float32).run([prompt], 64)[0], want, rtol=0.0, atol=1e-4)


def test_older_names_of_the_two_ropes(tmp_path: Path) -> None:
    folder = tiny_checkpoint("gemma3_text", tmp_path / "gemma3")
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for key in ("rope_parameters", "layer_types"):
        del config[key]
    config |= {
        "rope_theta": 1e6,
        "rope_local_base_freq": 1e4,
        "sliding_window_pattern": 6,
        "rope_scaling": None,
    }
    path.write_text(json.dumps(config))
    prompt = random_prompts((60,))[0]
    with torch.no_grad():
        want = tiny_model("gemma3_text")(torch.tensor([prompt])).logits[0]
    logits = Driver(load_tiny(folder), torch.float32).run([prompt], 64)[0]
    torch.testing.assert_close(logits, want, rtol=0.0, atol=1e-4)
