"""BERT: post-norm encoder with learned positions and token types; sequence and token classifiers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, float32, nn

from quire.base.config import EngineConfig
from quire.base.errors import CheckpointError
from quire.model import ops
from quire.model.checkpoint import ConfigKeys
from quire.model.layers import (
    Embedding,
    Encoder,
    EncoderAttention,
    Layer,
    LayerNorm,
    Linear,
    StepInput,
    TokenTypes,
)
from quire.model.weight_map import Parts, WeightMap, weight_map


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What the card says, in this file's words. `classifier` is "sequence", "token" or empty."""

    hidden: int
    mlp: int
    layers: int
    heads: int
    vocab: int
    positions: int
    types: int
    eps: float
    activation: str
    classifier: str
    labels: int

    @property
    def head_dim(self) -> int:
        return self.hidden // self.heads


def read(keys: ConfigKeys, layers: int) -> Shape:
    keys.choice("position_embedding_type", ("absolute",), "absolute")
    keys.choice("is_decoder", (False,), False)
    keys.flag("tie_word_embeddings", True)  # of the head for masked words, which is not kept
    hidden = keys.whole("hidden_size")
    shape = Shape(
        hidden=hidden,
        mlp=keys.whole("intermediate_size"),
        layers=layers,
        heads=keys.divisor("num_attention_heads", hidden),
        vocab=keys.whole("vocab_size"),
        positions=keys.whole("max_position_embeddings"),
        types=keys.whole("type_vocab_size", 2),
        eps=keys.number("layer_norm_eps", 1e-12),
        activation=keys.choice(
            "hidden_act", ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu"), "gelu"
        ),
        classifier=keys.classifier(),
        labels=keys.num_labels(),
    )
    keys.refuse_rest(
        *("directionality", "output_past"),  # left over by conversions; no code reads them
        *(
            f"pooler_{rest}"
            for rest in ("fc_size", "num_attention_heads", "num_fc_layers", "size_per_head", "type")
        ),
    )
    return shape


class BertAttention(Layer):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.head_dim = shape.head_dim
        self.qkv = Linear(shape.hidden, (shape.hidden,) * 3, bias=True)
        self.output = Linear(shape.hidden, shape.hidden, bias=True)
        self.attention = EncoderAttention(scale=shape.head_dim**-0.5)

    def forward(self, x_TD: Tensor, step: StepInput) -> Tensor:
        query, key, value = (part.view(len(x_TD), -1, self.head_dim) for part in self.qkv.split(x_TD))
        return self.output(self.attention(query, key, value, step))


class BertMLP(Layer):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.kind = shape.activation
        self.up = Linear(shape.hidden, shape.mlp, bias=True)
        self.down = Linear(shape.mlp, shape.hidden, bias=True)

    def forward(self, x_TD: Tensor) -> Tensor:
        return self.down(ops.activation(self.up(x_TD), self.kind))


class BertBlock(Layer):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention = BertAttention(shape)
        self.attention_norm = LayerNorm(shape.hidden, shape.eps)
        self.mlp = BertMLP(shape)
        self.mlp_norm = LayerNorm(shape.hidden, shape.eps)

    def forward(self, x_TD: Tensor, step: StepInput) -> Tensor:
        x_TD = self.attention_norm(ops.add(self.attention(x_TD, step), x_TD))
        return self.mlp_norm(ops.add(self.mlp(x_TD), x_TD))


class BertClassifier(Layer):
    """Of a sequence: dense and tanh (BERT's "pooler"), then the labels. Of tokens: the labels alone."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        has_pooler = shape.classifier == "sequence"
        self.dense = Linear(shape.hidden, shape.hidden, bias=True) if has_pooler else None
        self.labels = Linear(shape.hidden, shape.labels, bias=True)

    def forward(self, hidden_RD: Tensor) -> Tensor:
        if self.dense is not None:
            hidden_RD = ops.activation(self.dense(hidden_RD), "tanh")
        return self.labels(hidden_RD, float32)


class Bert(Encoder):
    def __init__(self, config: EngineConfig, keys: ConfigKeys) -> None:
        super().__init__()
        shape = self.shape = read(keys, config.card.num_layers)
        if config.max_model_len > shape.positions:
            raise CheckpointError(
                f"max_model_len {config.max_model_len} is more than the {shape.positions} positions "
                f"this model learned."
            )
        self.embedding = Embedding(shape.vocab, shape.hidden)
        self.types = TokenTypes(shape.types, shape.hidden, config.scheduler.max_num_batched_tokens)
        self.positions = Embedding(shape.positions, shape.hidden)
        self.norm = LayerNorm(shape.hidden, shape.eps)
        self.blocks = nn.ModuleList(BertBlock(shape) for _ in range(shape.layers))
        self.cache_shapes = []
        if shape.classifier:
            self.dtype = getattr(torch, config.dtype)
            self.num_labels = shape.labels
            self.classified = "CLS" if shape.classifier == "sequence" else "ALL"
            self.classifier = BertClassifier(shape)

    def forward(self, step: StepInput) -> Tensor:
        x_TD = ops.add(self.embedding(step.token_ids_T), self.types(step))
        x_TD = self.norm(ops.add(x_TD, self.positions(step.positions_T)))
        for block in self.blocks:
            x_TD = block(x_TD, step)
        return x_TD

    def classify(self, hidden_RD: Tensor) -> Tensor:
        return self.classifier(hidden_RD.to(self.dtype))

    def weights(self) -> WeightMap:
        outside: dict[str, str] = {}
        parts = {
            "attention.output": "attention.output.dense",
            "attention_norm": "attention.output.LayerNorm",
            "mlp.up": "intermediate.dense",
            "mlp.down": "output.dense",
            "mlp_norm": "output.LayerNorm",
        }
        per_layer: Parts = {}
        for kind in ("weight", "bias"):
            outside[f"norm.{kind}"] = f"embeddings.LayerNorm.{kind}"
            for ours, theirs in parts.items():
                per_layer[f"blocks.{{}}.{ours}.{kind}"] = f"encoder.layer.{{}}.{theirs}.{kind}"
            per_layer[f"blocks.{{}}.attention.qkv.{kind}"] = tuple(
                f"encoder.layer.{{}}.attention.self.{part}.{kind}" for part in ("query", "key", "value")
            )
            if self.shape.classifier:
                outside[f"classifier.labels.{kind}"] = f"classifier.{kind}"
            if self.shape.classifier == "sequence":
                outside[f"classifier.dense.{kind}"] = f"pooler.dense.{kind}"
        for ours, theirs in (("embedding", "word"), ("types.table", "token_type"), ("positions", "position")):
            outside[f"{ours}.weight"] = f"embeddings.{theirs}_embeddings.weight"
        return weight_map(
            outside,
            per_layer,
            self.shape.layers,
            ignored=(r"embeddings\.position_ids", r"pooler\.dense\..*", r"cls\..*"),
            renames=(
                (r"^bert\.", ""),
                (r"LayerNorm\.gamma$", "LayerNorm.weight"),
                (r"LayerNorm\.beta$", "LayerNorm.bias"),
            ),
        )
