"""Rope frequencies equal transformers' for every stretch it knows; what depends on the text's length is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from quire.base.errors import CheckpointError
from quire.model.layers import Rotary

FACTORS = [1.0 + 0.25 * index for index in range(16)]
STRETCHES: list[dict[str, Any]] = [
    {"rope_type": "linear", "factor": 4.0},
    {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 256,
    },
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512},
    {
        "rope_type": "yarn",
        "factor": 16.0,
        "original_max_position_embeddings": 256,
        "beta_fast": 16,
        "beta_slow": 2,
        "truncate": False,
    },
    {
        "rope_type": "yarn",
        "factor": 4.0,
        "original_max_position_embeddings": 512,
        "mscale": 0.7,
        "mscale_all_dim": 1.1,
    },
    {
        "rope_type": "longrope",
        "original_max_position_embeddings": 512,
        "short_factor": FACTORS,
        "long_factor": [2 * factor for factor in FACTORS],
    },
    {
        "rope_type": "longrope",
        "original_max_position_embeddings": 512,
        "short_factor": FACTORS,
        "long_factor": FACTORS,
        "attention_factor": 1.5,
    },
]


@pytest.mark.parametrize("rope", STRETCHES, ids=lambda rope: str(rope["rope_type"]))
@pytest.mark.parametrize("served_len", [512, 2048])
def test_frequencies_equal_the_oracle(rope: dict[str, Any], served_len: int) -> None:
    rope = {"rope_theta": 20000.0, **rope}
    oracle = LlamaConfig(
        hidden_size=128, num_attention_heads=4, max_position_embeddings=2048, rope_parameters=dict(rope)
    )
    want, magnitude = ROPE_INIT_FUNCTIONS[rope["rope_type"]](oracle, torch.device("cpu"), seq_len=served_len)
    rotary = Rotary(32, rope, trained_len=2048, served_len=served_len)
    torch.testing.assert_close(rotary.frequencies_R, want, rtol=1e-6, atol=0.0)
    assert rotary.magnitude == pytest.approx(magnitude)
    angles = rotary(torch.tensor([0, 5]), torch.float32)
    torch.testing.assert_close(angles.cos[1], (5 * want).cos() * magnitude, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(angles.sin[1], (5 * want).sin() * magnitude, rtol=1e-5, atol=1e-6)


def test_ntk_keeps_fast_waves_and_stretches_the_slowest_by_the_factor() -> None:
    plain = Rotary(32, {"rope_theta": 20000.0}, trained_len=8192, served_len=8192).frequencies_R
    rope = {"type": "ntk", "rope_theta": 20000.0, "factor": 8.0}
    stretched = Rotary(32, rope, trained_len=8192, served_len=8192).frequencies_R
    slower = plain / stretched
    torch.testing.assert_close(slower[-1].item(), 8.0, rtol=1e-5, atol=0.0)
    torch.testing.assert_close(slower[0].item(), 8.0 ** (2 / 32), rtol=1e-5, atol=0.0)
    torch.testing.assert_close(
        slower[1:] / slower[:-1], torch.full((15,), 8.0 ** (2 / 32)), rtol=1e-5, atol=0.0
    )


def test_dynamic_rope_serves_up_to_the_trained_length_only() -> None:
    rope = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}
    plain = Rotary(32, {"rope_theta": 10000.0}, trained_len=512, served_len=512)
    assert torch.equal(Rotary(32, rope, trained_len=512, served_len=512).frequencies_R, plain.frequencies_R)
    with pytest.raises(CheckpointError, match="set max_model_len to at most 512"):
        Rotary(32, rope, trained_len=512, served_len=1024)


def test_older_names_of_rope_types() -> None:
    old = {
        "type": "su",
        "rope_theta": 1e4,
        "original_max_position_embeddings": 64,
        "short_factor": FACTORS,
        "long_factor": FACTORS,
    }
    new = {key: value for key, value in old.items() if key != "type"} | {"rope_type": "longrope"}
    lengths = {"trained_len": 512, "served_len": 512}
    assert torch.equal(Rotary(32, old, **lengths).frequencies_R, Rotary(32, new, **lengths).frequencies_R)


@pytest.mark.parametrize(
    ("rope", "words"),
    [
        ({"rope_type": "spiral"}, "rope type 'spiral'"),
        ({"rope_type": "linear"}, "'linear' needs the key 'factor'"),
        ({"rope_type": "default", "mrope_section": [1, 2]}, "mrope_section"),
        ({"rope_type": "longrope", "short_factor": [1.0], "long_factor": [1.0]}, "1 factors for 16"),
    ],
)
def test_refusals_name_the_key(rope: dict[str, Any], words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        Rotary(32, {"rope_theta": 1e4, **rope}, trained_len=512, served_len=512)
