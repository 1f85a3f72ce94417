"""GTE: post-norm encoder with rope, token types and a gated MLP, which the first releases call "new"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, float32, nn

from quire.base.config import EngineConfig
from quire.model import ops
from quire.model.checkpoint import ConfigKeys
from quire.model.layers import (
    Angles,
    Embedding,
    Encoder,
    EncoderAttention,
    Layer,
    LayerNorm,
    Linear,
    Rotary,
    StepInput,
    TokenTypes,
)
from quire.model.weight_map import Parts, WeightMap, weight_map

ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What the card says, in this file's words. `classifier` is "sequence", "token" or empty."""

    hidden: int
    mlp: int
    layers: int
    heads: int
    vocab: int
    types: int
    eps: float
    activation: str
    rope: dict[str, Any]
    classifier: str
    labels: int

    @property
    def head_dim(self) -> int:
        return self.hidden // self.heads


def read(keys: ConfigKeys, layers: int) -> Shape:
    """Of both kinds of config.json: transformers' own, and the one of the first releases, which call it "new"."""
    keys.choice("position_embedding_type", ("rope",), "rope")
    keys.choice("layer_norm_type", ("layer_norm",), "layer_norm")
    keys.choice("pack_qkv", (True,), True)
    keys.flag("tie_word_embeddings", True)  # of the head for masked words, which is not kept
    hidden = keys.whole("hidden_size")
    shape = Shape(
        hidden=hidden,
        mlp=keys.whole("intermediate_size"),
        layers=layers,
        heads=keys.divisor("num_attention_heads", hidden),
        vocab=keys.whole("vocab_size"),
        types=keys.whole("type_vocab_size", 1),
        eps=keys.number("layer_norm_eps", 1e-12),
        activation=keys.choice("hidden_act", ACTIVATIONS, "gelu"),
        rope=keys.rope(),
        classifier=keys.classifier(),
        labels=keys.num_labels(),
    )
    keys.refuse_rest("unpad_inputs", "use_memory_efficient_attention")
    return shape


class GteAttention(Layer):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.head_dim = shape.head_dim
        self.qkv = Linear(shape.hidden, (shape.hidden,) * 3, bias=True)
        self.output = Linear(shape.hidden, shape.hidden, bias=True)
        self.attention = EncoderAttention(scale=shape.head_dim**-0.5)

    def forward(self, x_TD: Tensor, angles: Angles, step: StepInput) -> Tensor:
        query, key, value = (part.view(len(x_TD), -1, self.head_dim) for part in self.qkv.split(x_TD))
        return self.output(self.attention(query, key, value, step, angles))


class GteMLP(Layer):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.kind = shape.activation
        self.gate_up = Linear(shape.hidden, (shape.mlp, shape.mlp))
        self.down = Linear(shape.mlp, shape.hidden, bias=True)

    def forward(self, x_TD: Tensor) -> Tensor:
        return self.down(ops.activation(self.gate_up(x_TD), self.kind, gated=True))


class GteBlock(Layer):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention = GteAttention(shape)
        self.attention_norm = LayerNorm(shape.hidden, shape.eps)
        self.mlp = GteMLP(shape)
        self.mlp_norm = LayerNorm(shape.hidden, shape.eps)

    def forward(self, x_TD: Tensor, angles: Angles, step: StepInput) -> Tensor:
        x_TD = self.attention_norm(ops.add(self.attention(x_TD, angles, step), x_TD))
        return self.mlp_norm(ops.add(self.mlp(x_TD), x_TD))


class GteClassifier(Layer):
    """Of a sequence: dense and tanh, then the labels. Of tokens: the labels alone."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        is_pooled = shape.classifier == "sequence"
        self.dense = Linear(shape.hidden, shape.hidden, bias=True) if is_pooled else None
        self.labels = Linear(shape.hidden, shape.labels, bias=True)

    def forward(self, hidden_RD: Tensor) -> Tensor:
        if self.dense is not None:
            hidden_RD = ops.activation(self.dense(hidden_RD), "tanh")
        return self.labels(hidden_RD, float32)


class Gte(Encoder):
    def __init__(self, config: EngineConfig, keys: ConfigKeys) -> None:
        super().__init__()
        shape = self.shape = read(keys, config.card.num_layers)
        self.embedding = Embedding(shape.vocab, shape.hidden)
        longest_step = config.scheduler.max_num_batched_tokens
        self.types = TokenTypes(shape.types, shape.hidden, longest_step) if shape.types else None
        self.norm = LayerNorm(shape.hidden, shape.eps)
        self.rotary = Rotary(
            shape.head_dim,
            shape.rope,
            trained_len=keys.whole("max_position_embeddings"),
            served_len=config.max_model_len,
        )
        self.blocks = nn.ModuleList(GteBlock(shape) for _ in range(shape.layers))
        self.cache_shapes = []
        if shape.classifier:
            self.dtype = getattr(torch, config.dtype)
            self.num_labels = shape.labels
            self.classified = "CLS" if shape.classifier == "sequence" else "ALL"
            self.classifier = GteClassifier(shape)

    def forward(self, step: StepInput) -> Tensor:
        x_TD = self.embedding(step.token_ids_T)
        x_TD = self.norm(x_TD if self.types is None else ops.add(x_TD, self.types(step)))
        angles = self.rotary(step.positions_T, x_TD.dtype)
        for block in self.blocks:
            x_TD = block(x_TD, angles, step)
        return x_TD

    def classify(self, hidden_RD: Tensor) -> Tensor:
        return self.classifier(hidden_RD.to(self.dtype))

    def weights(self) -> WeightMap:
        outside = {"embedding.weight": "embeddings.word_embeddings.weight"}
        if self.shape.types:
            outside["types.table.weight"] = "embeddings.token_type_embeddings.weight"
        layer, gate_up = "encoder.layer.{}", "blocks.{}.mlp.gate_up.weight"
        parts = {
            "attention.qkv": "attention.qkv_proj",
            "attention.output": "attention.o_proj",
            "attention_norm": "attn_ln",
            "mlp.down": "mlp.down_proj",
            "mlp_norm": "mlp_ln",
        }
        per_layer: Parts = {gate_up: f"{layer}.mlp.up_gate_proj.weight"}
        for kind in ("weight", "bias"):
            outside[f"norm.{kind}"] = f"embeddings.LayerNorm.{kind}"
            for ours, theirs in parts.items():
                per_layer[f"blocks.{{}}.{ours}.{kind}"] = f"{layer}.{theirs}.{kind}"
            if self.shape.classifier:
                outside[f"classifier.labels.{kind}"] = f"classifier.{kind}"
            if self.shape.classifier == "sequence":
                outside[f"classifier.dense.{kind}"] = f"pooler.dense.{kind}"
        return weight_map(
            outside,
            per_layer,
            self.shape.layers,
            swapped=(gate_up,),  # the files have the part that is not gated first
            ignored=(r"embeddings\.position_ids", r"pooler\.dense\..*", r"lm_head\..*"),
            renames=((r"^(gte|new)\.", ""),),
        )
