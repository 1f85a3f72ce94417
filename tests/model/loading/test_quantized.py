"""A checkpoint loaded with --quantization: close to itself in float32, the same bits however it is fed."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import torch
from torch import Tensor

from quire.model.kernels import Prepared
from quire.model.layers import Embedding, Encoder, Linear, Weighted
from quire.model.loading import load_model
from tests.model.tiny import Driver, engine_config, load_tiny, random_prompts, tiny_checkpoint
from tests.model.tiny_encoders import encoder_checkpoint, random_texts, run_encoder, tiny_encoder


@pytest.mark.parametrize(
    ("scheme", "allowed"), [("int8", 0.05), ("int4-32", 0.4), ("int4-128", 0.4), ("int4-64-exact", 0.4)]
)
@pytest.mark.parametrize(
    "family", ["qwen3", "gpt2", "gpt_neox", "olmoe"]
)  # tied and not; weights stacked, transposed and of experts
def test_quantized(family: str, scheme: str, allowed: float, tmp_path: Path) -> None:
    folder = tiny_checkpoint(family, tmp_path / family)
    config = msgspec.structs.replace(engine_config(folder), quantization=scheme)
    network = load_model(config, None)
    for layer in network.modules():
        if isinstance(layer, Weighted) and not isinstance(layer, Embedding):
            assert isinstance(layer.weight, Prepared)
            assert layer.scheme == ("" if layer.keeps_type else scheme)  # a router does
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


@pytest.mark.parametrize(("scheme", "allowed"), [("int8", 0.05), ("int4-32", 0.4)])
@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_quantized_encoder(family: str, scheme: str, allowed: float, tmp_path: Path) -> None:
    oracle = tiny_encoder(family, head="sequence")
    folder = encoder_checkpoint(oracle, tmp_path / family)
    network = load_model(msgspec.structs.replace(engine_config(folder), quantization=scheme))
    assert isinstance(network, Encoder)
    linears = [layer for layer in network.modules() if isinstance(layer, Linear)]
    assert all(isinstance(layer.weight, Prepared) and layer.scheme == scheme for layer in linears)
    texts = random_texts((1, 20, 90))
    for got, text in zip(run_encoder(network, texts), texts, strict=True):
        with torch.no_grad():
            want = oracle.base_model(torch.tensor([text])).last_hidden_state[0]
            assert network.classify(got[:1]).isfinite().all()
        assert float((got - want).norm() / want.norm()) < allowed
        assert torch.equal(run_encoder(network, [text])[0], got)


def relative_error(got: Tensor, want: Tensor) -> float:
    centred = want - want.mean(-1, keepdim=True)
    return float((got - want).norm() / centred.norm())
