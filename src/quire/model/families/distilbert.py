"""DistilBERT: BERT without token types; its classifier of sequences has a ReLU."""

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
)
from quire.model.weight_map import Parts, WeightMap, weight_map

EPS = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What the card says, in this file's words. `classifier` is "sequence", "token" or empty."""

    hidden: int
    mlp: int
    layers: int
    heads: int
    vocab: int
    positions: int
    activation: str
    classifier: str
    labels: int

    @property
    def head_dim(self) -> int:
        return self.hidden // self.heads


def read(keys: ConfigKeys, layers: int) -> Shape:
    keys.flag("tie_weights_", True)  # of the head for masked words, which is not kept
    keys.flag("tie_word_embeddings", True)
    hidden = keys.whole("dim")
    shape = Shape(
        hidden=hidden,
        mlp=keys.whole("hidden_dim"),
        layers=layers,
        heads=keys.divisor("n_heads", hidden),
        vocab=keys.whole("vocab_size"),
        positions=keys.whole("max_position_embeddings"),
        activation=keys.choice(
            "activation", ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu"), "gelu"
        ),
        classifier=keys.classifier(),
        labels=keys.num_labels(),
    )
    # positions that were computed rather than learned are in the files all the same
    keys.refuse_rest("n_layers", "qa_dropout", "seq_classif_dropout", "sinusoidal_pos_embds")
    return shape


class DistilBertAttention(Layer):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.head_dim = shape.head_dim
        self.qkv = Linear(shape.hidden, (shape.hidden,) * 3, bias=True)
        self.output = Linear(shape.hidden, shape.hidden, bias=True)
        self.attention = EncoderAttention(scale=shape.head_dim**-0.5)

    def forward(self, x_TD: Tensor, step: StepInput) -> Tensor:
        query, key, value = (part.view(len(x_TD), -1, self.head_dim) for part in self.qkv.split(x_TD))
        return self.output(self.attention(query, key, value, step))


class DistilBertMLP(Layer):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.kind = shape.activation
        self.up = Linear(shape.hidden, shape.mlp, bias=True)
        self.down = Linear(shape.mlp, shape.hidden, bias=True)

    def forward(self, x_TD: Tensor) -> Tensor:
        return self.down(ops.activation(self.up(x_TD), self.kind))


class DistilBertBlock(Layer):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention = DistilBertAttention(shape)
        self.attention_norm = LayerNorm(shape.hidden, EPS)
        self.mlp = DistilBertMLP(shape)
        self.mlp_norm = LayerNorm(shape.hidden, EPS)

    def forward(self, x_TD: Tensor, step: StepInput) -> Tensor:
        x_TD = self.attention_norm(ops.add(self.attention(x_TD, step), x_TD))
        return self.mlp_norm(ops.add(self.mlp(x_TD), x_TD))


class DistilBertClassifier(Layer):
    """Of a sequence: dense and ReLU, then the labels. Of tokens: the labels alone."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        has_pooler = shape.classifier == "sequence"
        self.dense = Linear(shape.hidden, shape.hidden, bias=True) if has_pooler else None
        self.labels = Linear(shape.hidden, shape.labels, bias=True)

    def forward(self, hidden_RD: Tensor) -> Tensor:
        if self.dense is not None:
            hidden_RD = ops.activation(self.dense(hidden_RD), "relu")
        return self.labels(hidden_RD, float32)


class DistilBert(Encoder):
    def __init__(self, config: EngineConfig, keys: ConfigKeys) -> None:
        super().__init__()
        shape = self.shape = read(keys, config.card.num_layers)
        if config.max_model_len > shape.positions:
            raise CheckpointError(
                f"max_model_len {config.max_model_len} is more than the {shape.positions} positions "
                f"this model learned."
            )
        self.embedding = Embedding(shape.vocab, shape.hidden)
        self.positions = Embedding(shape.positions, shape.hidden)
        self.norm = LayerNorm(shape.hidden, EPS)
        self.blocks = nn.ModuleList(DistilBertBlock(shape) for _ in range(shape.layers))
        self.cache_shapes = []
        if shape.classifier:
            self.dtype = getattr(torch, config.dtype)
            self.num_labels = shape.labels
            self.classified = "CLS" if shape.classifier == "sequence" else "ALL"
            self.classifier = DistilBertClassifier(shape)

    def forward(self, step: StepInput) -> Tensor:
        x_TD = self.norm(ops.add(self.embedding(step.token_ids_T), self.positions(step.positions_T)))
        for block in self.blocks:
            x_TD = block(x_TD, step)
        return x_TD

    def classify(self, hidden_RD: Tensor) -> Tensor:
        return self.classifier(hidden_RD.to(self.dtype))

    def weights(self) -> WeightMap:
        outside = {
            "embedding.weight": "embeddings.word_embeddings.weight",
            "positions.weight": "embeddings.position_embeddings.weight",
        }
        layer = "transformer.layer.{}"
        parts = {
            "attention.output": "attention.out_lin",
            "attention_norm": "sa_layer_norm",
            "mlp.up": "ffn.lin1",
            "mlp.down": "ffn.lin2",
            "mlp_norm": "output_layer_norm",
        }
        per_layer: Parts = {}
        for kind in ("weight", "bias"):
            outside[f"norm.{kind}"] = f"embeddings.LayerNorm.{kind}"
            for ours, theirs in parts.items():
                per_layer[f"blocks.{{}}.{ours}.{kind}"] = f"{layer}.{theirs}.{kind}"
            per_layer[f"blocks.{{}}.attention.qkv.{kind}"] = tuple(
                f"{layer}.attention.{part}_lin.{kind}" for part in "qkv"
            )
            if self.shape.classifier:
                outside[f"classifier.labels.{kind}"] = f"classifier.{kind}"
            if self.shape.classifier == "sequence":
                outside[f"classifier.dense.{kind}"] = f"pre_classifier.{kind}"
        return weight_map(
            outside,
            per_layer,
            self.shape.layers,
            ignored=(r"embeddings\.position_ids", r"vocab_.*"),
            renames=((r"^distilbert\.", ""),),
        )
