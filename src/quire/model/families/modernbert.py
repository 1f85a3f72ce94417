"""ModernBERT: pre-norm encoder with rope, a gated MLP, and layers that see a window between those that see all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

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
)
from quire.model.weight_map import Parts, WeightMap, weight_map

ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu")
POOLINGS: dict[str, Literal["CLS", "MEAN"]] = {"cls": "CLS", "mean": "MEAN"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What the card says, in this file's words. `classifier` is "sequence", "token" or empty; `ropes` are by the
    layer's kind, as `kinds` has one for each layer."""

    hidden: int
    mlp: int
    layers: int
    heads: int
    vocab: int
    eps: float
    activation: str
    window: int
    kinds: list[str]
    ropes: dict[str, dict[str, Any]]
    attention_bias: bool
    mlp_bias: bool
    norm_bias: bool
    classifier: str
    classifier_pooling: str
    classifier_bias: bool
    classifier_activation: str
    labels: int

    @property
    def head_dim(self) -> int:
        return self.hidden // self.heads


def read(keys: ConfigKeys, layers: int) -> Shape:
    keys.choice("position_embedding_type", ("absolute",), "absolute")  # a word no release's code reads
    keys.number("layer_norm_eps", 0.0)  # the same: norm_eps is read
    keys.flag("tie_word_embeddings", True)  # of the head for masked words, which is not kept
    every = max(keys.whole("global_attn_every_n_layers", 3), 1)
    usual = ["sliding_attention" if layer % every else "full_attention" for layer in range(layers)]
    hidden = keys.whole("hidden_size")
    shape = Shape(
        hidden=hidden,
        mlp=keys.whole("intermediate_size"),
        layers=layers,
        heads=keys.divisor("num_attention_heads", hidden),
        vocab=keys.whole("vocab_size"),
        eps=keys.number("norm_eps", 1e-5),
        activation=keys.choice("hidden_activation", ACTIVATIONS, "gelu"),
        window=keys.whole("local_attention", 128) // 2,
        kinds=keys.layer_types(layers, usual),
        ropes=_ropes(keys),
        attention_bias=keys.flag("attention_bias", False),
        mlp_bias=keys.flag("mlp_bias", False),
        norm_bias=keys.flag("norm_bias", False),
        classifier=keys.classifier(),
        classifier_pooling=keys.choice("classifier_pooling", tuple(POOLINGS), "cls"),
        classifier_bias=keys.flag("classifier_bias", False),
        classifier_activation=keys.choice("classifier_activation", ACTIVATIONS, "gelu"),
        labels=keys.num_labels(),
    )
    keys.refuse_rest(
        *("cls_token_id", "decoder_bias", "deterministic_flash_attn", "embedding_dropout", "mlp_dropout"),
        *("initializer_cutoff_factor", "reference_compile", "repad_logits_with_grad"),
        *("sparse_pred_ignore_index", "sparse_prediction"),
    )
    return shape


def _ropes(keys: ConfigKeys) -> dict[str, dict[str, Any]]:
    """The two ropes, from `rope_parameters` by kind or from the older keys."""
    older = {
        "full_attention": {"rope_theta": keys.number("global_rope_theta", 160_000.0)},
        "sliding_attention": {"rope_theta": keys.number("local_rope_theta", 10_000.0)},
    }
    given = keys.mapping("rope_parameters", {})
    return {kind: rope | (given.get(kind) or {}) for kind, rope in older.items()}


class ModernBertAttention(Layer):
    def __init__(self, shape: Shape, layer: int) -> None:
        super().__init__()
        self.head_dim = shape.head_dim
        self.qkv = Linear(shape.hidden, (shape.hidden,) * 3, bias=shape.attention_bias)
        self.output = Linear(shape.hidden, shape.hidden, bias=shape.attention_bias)
        self.attention = EncoderAttention(
            scale=shape.head_dim**-0.5,
            window=shape.window if shape.kinds[layer] == "sliding_attention" else 0,
        )

    def forward(self, x_TD: Tensor, angles: Angles, step: StepInput) -> Tensor:
        query, key, value = (part.view(len(x_TD), -1, self.head_dim) for part in self.qkv.split(x_TD))
        return self.output(self.attention(query, key, value, step, angles))


class ModernBertMLP(Layer):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.kind = shape.activation
        self.gate_up = Linear(shape.hidden, (shape.mlp, shape.mlp), bias=shape.mlp_bias)
        self.down = Linear(shape.mlp, shape.hidden, bias=shape.mlp_bias)

    def forward(self, x_TD: Tensor) -> Tensor:
        return self.down(ops.activation(self.gate_up(x_TD), self.kind, gated=True))


class ModernBertBlock(Layer):
    """The first block's input is normalised already."""

    def __init__(self, shape: Shape, layer: int) -> None:
        super().__init__()
        self.kind = shape.kinds[layer]
        self.attention_norm = LayerNorm(shape.hidden, shape.eps, bias=shape.norm_bias) if layer else None
        self.attention = ModernBertAttention(shape, layer)
        self.mlp_norm = LayerNorm(shape.hidden, shape.eps, bias=shape.norm_bias)
        self.mlp = ModernBertMLP(shape)

    def forward(self, x_TD: Tensor, angles: dict[str, Angles], step: StepInput) -> Tensor:
        normed_TD = x_TD if self.attention_norm is None else self.attention_norm(x_TD)
        x_TD = ops.add(x_TD, self.attention(normed_TD, angles[self.kind], step))
        return ops.add(x_TD, self.mlp(self.mlp_norm(x_TD)))


class ModernBertClassifier(Layer):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.kind = shape.classifier_activation
        self.dense = Linear(shape.hidden, shape.hidden, bias=shape.classifier_bias)
        self.norm = LayerNorm(shape.hidden, shape.eps, bias=shape.norm_bias)
        self.labels = Linear(shape.hidden, shape.labels, bias=True)

    def forward(self, hidden_RD: Tensor) -> Tensor:
        return self.labels(self.norm(ops.activation(self.dense(hidden_RD), self.kind)), float32)


class ModernBert(Encoder):
    def __init__(self, config: EngineConfig, keys: ConfigKeys) -> None:
        super().__init__()
        shape = self.shape = read(keys, config.card.num_layers)
        self.embedding = Embedding(shape.vocab, shape.hidden)
        self.embedding_norm = LayerNorm(shape.hidden, shape.eps, bias=shape.norm_bias)
        self.rotaries = {
            kind: Rotary(
                shape.head_dim,
                shape.ropes[kind],
                trained_len=keys.whole("max_position_embeddings"),
                served_len=config.max_model_len,
            )
            for kind in sorted(set(shape.kinds))
        }
        self.blocks = nn.ModuleList(ModernBertBlock(shape, layer) for layer in range(shape.layers))
        self.norm = LayerNorm(shape.hidden, shape.eps, bias=shape.norm_bias)
        self.cache_shapes = []
        if shape.classifier:
            self.dtype = getattr(torch, config.dtype)
            self.num_labels = shape.labels
            self.classified = "ALL" if shape.classifier == "token" else POOLINGS[shape.classifier_pooling]
            self.classifier = ModernBertClassifier(shape)

    def forward(self, step: StepInput) -> Tensor:
        x_TD = self.embedding_norm(self.embedding(step.token_ids_T))
        angles = {kind: rotary(step.positions_T, x_TD.dtype) for kind, rotary in self.rotaries.items()}
        for block in self.blocks:
            x_TD = block(x_TD, angles, step)
        return self.norm(x_TD)

    def classify(self, hidden_RD: Tensor) -> Tensor:
        return self.classifier(hidden_RD.to(self.dtype))

    def weights(self) -> WeightMap:
        shape = self.shape
        outside = {"embedding.weight": "embeddings.tok_embeddings.weight"}
        per_layer: Parts = {}
        for kind in ("weight", "bias"):
            is_there = {
                name: kind == "weight" or getattr(shape, f"{name}_bias")
                for name in ("norm", "attention", "mlp")
            }
            if is_there["norm"]:
                outside[f"embedding_norm.{kind}"] = f"embeddings.norm.{kind}"
                outside[f"norm.{kind}"] = f"final_norm.{kind}"
                for name in ("attention_norm", "mlp_norm"):
                    theirs = name.replace("attention", "attn")
                    per_layer[f"blocks.{{}}.{name}.{kind}"] = f"layers.{{}}.{theirs}.{kind}"
            if is_there["attention"]:
                per_layer[f"blocks.{{}}.attention.qkv.{kind}"] = f"layers.{{}}.attn.Wqkv.{kind}"
                per_layer[f"blocks.{{}}.attention.output.{kind}"] = f"layers.{{}}.attn.Wo.{kind}"
            if is_there["mlp"]:
                per_layer[f"blocks.{{}}.mlp.gate_up.{kind}"] = f"layers.{{}}.mlp.Wi.{kind}"
                per_layer[f"blocks.{{}}.mlp.down.{kind}"] = f"layers.{{}}.mlp.Wo.{kind}"
        outside |= self._classifier_weights()
        spelled = weight_map(
            outside,
            per_layer,
            shape.layers,
            ignored=(r"head\..*", r"decoder\..*"),
            renames=((r"^model\.", ""),),
        )
        for kind in ("weight", "bias"):
            spelled.sources.pop(f"blocks.0.attention_norm.{kind}", None)
        return spelled

    def _classifier_weights(self) -> dict[str, str]:
        if not self.shape.classifier:
            return {}
        names = {f"classifier.labels.{kind}": f"classifier.{kind}" for kind in ("weight", "bias")}
        names |= {f"classifier.{part}.weight": f"head.{part}.weight" for part in ("dense", "norm")}
        if self.shape.classifier_bias:
            names["classifier.dense.bias"] = "head.dense.bias"
        if self.shape.norm_bias:
            names["classifier.norm.bias"] = "head.norm.bias"
        return names
