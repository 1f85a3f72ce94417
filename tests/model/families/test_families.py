"""Every family equals transformers: logits of every position within 1e-4 and the same greedy choice, for prompts of
mixed length in one batch, in bits that do not depend on the chunks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from quire.base.errors import CheckpointError
from quire.model.checkpoint import read_card
from quire.model.families import FAMILIES
from quire.model.loading import build_network
from tests.model.tiny import (
    SHAPES,
    Driver,
    engine_config,
    load_tiny,
    random_prompts,
    tiny_checkpoint,
    tiny_model,
)

LENGTHS = (3, 90, 1, 130, 29)
FACTORS = [1.0 + 0.25 * index for index in range(8)]


def _rope(kind: str, **more: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 10000.0, **more}}


def _longrope(original: int) -> dict[str, Any]:
    return {
        "original_max_position_embeddings": original,
        "sliding_window": None,
        **_rope(
            "longrope",
            original_max_position_embeddings=original,
            short_factor=FACTORS,
            long_factor=[2 * factor for factor in FACTORS],
        ),
    }


LLAMA3 = {
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
WINDOWED = {"use_sliding_window": True, "sliding_window": 20, "max_window_layers": 1}
NESTED = {
    "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
    "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
}

EVERY_OTHER = ["sliding_attention", "full_attention", "sliding_attention", "full_attention"]
CASES: list[tuple[str, dict[str, Any]]] = [
    *((family, {}) for family in SHAPES),
    ("llama", {"tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True, "head_dim": 24}),
    ("llama", _rope("linear", factor=4.0)),
    ("llama", _rope("llama3", **LLAMA3)),
    ("llama", _rope("yarn", factor=4.0, original_max_position_embeddings=64)),
    ("mistral", {"sliding_window": None, "num_key_value_heads": 1}),
    ("qwen2", WINDOWED | {"tie_word_embeddings": True}),
    ("qwen3", WINDOWED | _rope("yarn", factor=2.0, original_max_position_embeddings=128)),
    (
        "qwen3_moe",
        {
            "use_sliding_window": True,
            "sliding_window": 20,
            "norm_topk_prob": True,
            "num_experts_per_tok": 1,
            "attention_bias": True,
        },
    ),
    ("mixtral", {"sliding_window": 24, "tie_word_embeddings": True, "num_experts_per_tok": 5}),
    ("olmoe", {"norm_topk_prob": True, "attention_bias": True, "num_key_value_heads": 4}),
    ("gemma2", {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0, "sliding_window": 7}),
    ("gemma3_text", {"rope_parameters": NESTED, "sliding_window": 9, "final_logit_softcapping": 5.0}),
    ("phi3", _rope("default", partial_rotary_factor=0.75)),
    ("gpt2", {"scale_attn_by_inverse_layer_idx": True, "n_inner": 80, "activation_function": "relu"}),
    ("gpt_neox", {"use_parallel_residual": False, "attention_bias": False, "tie_word_embeddings": True}),
    ("gpt_neox", _rope("default", partial_rotary_factor=0.5)),
    ("opt", {"do_layer_norm_before": False, "word_embed_proj_dim": 32}),
    ("cohere", {"attention_bias": True, "tie_word_embeddings": False, "logit_scale": 0.5}),
    ("cohere2", {"layer_types": EVERY_OTHER, "head_dim": 16, "sliding_window": 7}),
    ("gemma", {"num_key_value_heads": 1, "head_dim": 16}),
    ("granite", {"tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True}),
    ("olmo2", {"attention_bias": True, "num_key_value_heads": 4, "tie_word_embeddings": True}),
    ("olmo3", {"rope_parameters": NESTED, "layer_types": ["full_attention", *["sliding_attention"] * 3]}),
    ("smollm3", {"no_rope_layers": [1, 0, 0, 1], "attention_bias": True, "tie_word_embeddings": False}),
    ("smollm3", {"use_sliding_window": True, "sliding_window": 20, "layer_types": EVERY_OTHER}),
    ("stablelm", {"use_parallel_residual": True, "use_qkv_bias": True, "tie_word_embeddings": True}),
    ("stablelm", _rope("default", partial_rotary_factor=1.0)),
]


@pytest.mark.parametrize(
    ("family", "config"), CASES, ids=[f"{family}-{index}" for index, (family, _) in enumerate(CASES)]
)
def test_equals_the_oracle_in_every_chunking(family: str, config: dict[str, Any], tmp_path: Path) -> None:
    network = load_tiny(tiny_checkpoint(family, tmp_path / family, **config))
    oracle = tiny_model(family, **config)
    prompts = random_prompts(LENGTHS)
    with torch.no_grad():
        want = [oracle(torch.tensor([prompt])).logits[0] for prompt in prompts]
    first = Driver(network, torch.float32).run(prompts, 64)
    for ours, theirs in zip(first, want, strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs, rtol=0.0, atol=1e-4)
        assert torch.equal(ours.argmax(-1), theirs.argmax(-1))
    for chunk in (1, 7):
        for ours, before in zip(
            Driver(network, torch.float32, seed=chunk).run(prompts, chunk), first, strict=True
        ):
            assert torch.equal(ours, before)


@pytest.mark.parametrize(("original", "lengths"), [(400, (3, 90, 130)), (64, (70, 90, 130))])
def test_longrope_picks_its_factors_by_the_served_length(
    original: int, lengths: tuple[int, ...], tmp_path: Path
) -> None:
    """transformers picks by the text's length, so all prompts lie on one side of the original length here."""
    config = _longrope(original)
    folder = tiny_checkpoint("phi3", tmp_path / "phi3", **config)
    network = load_tiny(folder, max_model_len=400)
    oracle = tiny_model("phi3", **config)
    prompts = random_prompts(lengths)
    for ours, prompt in zip(Driver(network, torch.float32).run(prompts, 64), prompts, strict=True):
        with torch.no_grad():
            want = oracle(torch.tensor([prompt])).logits[0]
        torch.testing.assert_close(ours, want, rtol=0.0, atol=1e-4)


@pytest.mark.parametrize("family", ["qwen3", "gemma2", "gpt2", "olmoe"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_has_the_same_bits_in_every_chunking(family: str, dtype: str, tmp_path: Path) -> None:
    network = load_tiny(tiny_checkpoint(family, tmp_path / family, dtype=dtype), dtype=dtype)
    prompts = random_prompts((3, 40, 1, 70))
    torch_dtype = getattr(torch, dtype)
    first = Driver(network, torch_dtype).run(prompts, 64)
    alone = [Driver(network, torch_dtype, seed=5).run([prompt], 64)[0] for prompt in prompts]
    for chunk in (1, 7):
        for ours, before in zip(
            Driver(network, torch_dtype, seed=chunk).run(prompts, chunk), first, strict=True
        ):
            assert torch.equal(ours, before)
    assert all(torch.equal(ours, before) for ours, before in zip(alone, first, strict=True))


@pytest.mark.parametrize(
    ("family", "overrides", "words"),
    [
        ("llama", {"hidden_act": "tanh"}, "hidden_act is 'tanh'"),
        ("llama", {"resid_mix_factor": 0.5}, "resid_mix_factor = 0.5 is not understood"),
        ("llama", {"rope_parameters": {"rope_type": "spiral", "rope_theta": 1e4}}, "spiral"),
        (
            "qwen3",
            {"layer_types": ["full_attention", "linear_attention", "full_attention"]},
            "linear_attention",
        ),
        ("qwen3_moe", {"decoder_sparse_step": 2}, "decoder_sparse_step is 2"),
        ("qwen3_moe", {"mlp_only_layers": [1]}, r"mlp_only_layers is \[1\]"),
        ("qwen3_moe", {"shared_expert_intermediate_size": 64}, "shared_expert_intermediate_size = 64"),
        (
            "mixtral",
            {"num_experts_per_tok": 6},
            "num_experts_per_tok is 6; it must be a whole number from 1 to 5",
        ),
        ("olmoe", {"clip_qkv": 8.0}, "clip_qkv is 8.0"),
        ("gemma2", {"use_bidirectional_attention": True}, "use_bidirectional_attention"),
        ("phi3", {"attention_bias": True}, "attention_bias is True"),
        ("gpt2", {"add_cross_attention": True}, "add_cross_attention = True"),
        ("gpt2", {"scale_attn_weights": False}, "scale_attn_weights is False"),
        ("opt", {"enable_bias": False}, "enable_bias is False"),
        ("cohere", {"use_qk_norm": True}, "use_qk_norm is True"),
        ("cohere2", {"use_parallel_block": False}, "use_parallel_block is False"),
        ("gemma", {"hidden_activation": "relu"}, "hidden_activation is 'relu'"),
        ("smollm3", {"no_rope_layers": [1, 0]}, "no_rope_layers lists 2 layers of 4"),
        ("stablelm", {"qk_layernorm": True}, "qk_layernorm is True"),
    ],
)
def test_a_key_that_changes_the_maths_is_refused_by_name(
    family: str, overrides: dict[str, Any], words: str, tmp_path: Path
) -> None:
    folder = tiny_checkpoint(family, tmp_path / family)
    card = read_card(folder, name=family, hf_overrides=overrides)
    config = msgspec.structs.replace(engine_config(folder), card=card)
    with pytest.raises(CheckpointError, match=words):
        build_network(config)


@pytest.mark.parametrize("family", ["gpt2", "opt"])
def test_learned_positions_end_where_they_end(family: str, tmp_path: Path) -> None:
    folder = tiny_checkpoint(family, tmp_path / family)
    with pytest.raises(CheckpointError, match="513 is more than the 512 positions"):
        load_tiny(folder, max_model_len=513)


def test_every_family_has_a_tiny_model() -> None:
    decoders = {name for name, family in FAMILIES.items() if not family.is_encoder}
    assert decoders - set(SHAPES) == {"gemma3"}  # gemma3 nests gemma3_text, see test_gemma3.py
