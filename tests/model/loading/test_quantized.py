"""A checkpoint loaded with --quantization: close to itself in float32, the same bits however it is fed."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import torch
from torch import Tensor

from quire.model.kernels import Prepared
from quire.model.layers import Embedding, Linear
from quire.model.loading import load_model
from tests.model.tiny import Driver, engine_config, load_tiny, random_prompts, tiny_checkpoint


@pytest.mark.parametrize(
    ("scheme", "allowed"), [("int8", 0.05), ("int4-32", 0.4), ("int4-128", 0.4), ("int4-64-exact", 0.4)]
)
@pytest.mark.parametrize(
    "family", ["qwen3", "gpt2", "gpt_neox"]
)  # tied and not; weights stacked and transposed
def test_quantized(family: str, scheme: str, allowed: float, tmp_path: Path) -> None:
    folder = tiny_checkpoint(family, tmp_path / family)
    config = msgspec.structs.replace(engine_config(folder), quantization=scheme)
    network = load_model(config, None)
    for layer in network.modules():
        if isinstance(layer, Linear):
            assert isinstance(layer.weight, Prepared)
            assert layer.scheme == scheme
        if isinstance(layer, Embedding) and layer.scheme:
            assert isinstance(layer.weight, Prepared)
    prompts = random_prompts((1, 20, 40))
    exact = Driver(load_tiny(folder), torch.float32).run(prompts, 64)
    whole = Driver(network, torch.float32).run(prompts, 64)
    for got, want in zip(whole, exact, strict=True):
        assert relative_error(got, want) < allowed
    for chunk in (1, 7):
        for got, want in zip(
            Driver(network, torch.float32, seed=chunk).run(prompts, chunk), whole, strict=True
        ):
            assert torch.equal(got, want)


def relative_error(got: Tensor, want: Tensor) -> float:
    centred = want - want.mean(-1, keepdim=True)
    return float((got - want).norm() / centred.norm())
