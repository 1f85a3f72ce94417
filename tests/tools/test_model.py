"""The training model is Qwen3: transformers computes the same logits from the exported folder."""

from pathlib import Path

import pytest
import torch
from export import export

from model import Folio, ModelShape

FOLDER = Path(__file__).parents[2] / "src/quire/assets/folio"
SHAPE = ModelShape(
    hidden_size=64, intermediate_size=96, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=32
)


def saved_checkpoint(folder):
    torch.manual_seed(1)
    model = Folio(SHAPE)
    for parameter in model.parameters():
        parameter.data = parameter.data.add(torch.randn_like(parameter) * 0.1).bfloat16().float()
    path = folder / "folio.pt"
    torch.save({"model": model.state_dict(), "shape": SHAPE.__dict__}, path)
    return model, path


def test_exported_weights_give_the_same_logits_in_transformers(tmp_path):
    transformers = pytest.importorskip("transformers")
    model, checkpoint = saved_checkpoint(tmp_path)
    export(FOLDER / "tokenizer.json", checkpoint, tmp_path / "folder")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "folder", dtype=torch.float32)
    assert type(theirs).__name__ == "Qwen3ForCausalLM"
    ids = torch.randint(0, SHAPE.vocab_size, (2, 40))
    with torch.no_grad():
        torch.testing.assert_close(model(ids), theirs(ids).logits, rtol=1e-4, atol=1e-4)


def test_the_shipped_folder_is_small_and_complete():
    sizes = {file.name: file.stat().st_size for file in FOLDER.iterdir()}
    assert sum(sizes.values()) <= 16e6
    assert set(sizes) == {
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
