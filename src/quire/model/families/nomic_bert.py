"""NomicBERT: post-norm encoder with rope, token types and a gated SiLU MLP, without biases in its projections."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What the card says, in this file's words. `classifier` is "sequence", "token" or empty. `trained` is the length
    of the texts it was trained on."""

    hidden: int
    mlp: int
    layers: int
    heads: int
    head_dim: int
    vocab: int
    types: int
    trained: int
    eps: float
    rope: dict[str, Any]
    classifier: str
    labels: int


def read(keys: ConfigKeys, layers: int) -> Shape:
    """Of both kinds of config.json: transformers' own, and the one of the releases, with GPT-2's names."""
    is_release = keys.values.get("n_embd") is not None
    hidden = keys.whole("n_embd" if is_release else "hidden_size")
    heads = keys.divisor("n_head" if is_release else "num_attention_heads", hidden)
    keys.flag("tie_word_embeddings", True)  # of the head for masked words, which is not kept
    rows = keys.whole("pad_vocab_size_multiple", 1)
    shape = Shape(
        hidden=hidden,
        mlp=keys.whole("n_inner" if is_release else "intermediate_size"),
        layers=layers,
        heads=heads,
        head_dim=keys.whole("head_dim", hidden // heads),
        vocab=-(-keys.whole("vocab_size") // rows) * rows,
        types=keys.whole("type_vocab_size", 2),
        trained=keys.whole("max_trained_positions" if is_release else "max_position_embeddings"),
        eps=keys.number("layer_norm_epsilon" if is_release else "layer_norm_eps", 1e-12),
        rope=_release_rope(keys)
        if is_release
        else {"rope_theta": 1000.0} | keys.mapping("rope_parameters", {}),
        classifier=keys.classifier(),
        labels=keys.num_labels(),
    )
    if is_release:
        _check_release(keys)
    else:
        keys.choice("hidden_act", ("silu",), "silu")
        keys.refuse_rest()
    return shape


def _check_release(keys: ConfigKeys) -> None:
    """The releases' file can say more than any release does."""
    keys.choice("activation_function", ("swiglu",))
    for name in ("qkv_proj_bias", "mlp_fc1_bias", "mlp_fc2_bias"):
        keys.choice(name, (False,))
    keys.choice("scale_attn_weights", (True,), True)
    keys.refuse_rest(
        *("dense_seq_output", "fused_bias_fc", "fused_dropout_add_ln", "reorder_and_upcast_attn"),
        *("use_flash_attn", "use_xentropy"),
    )


def _release_rope(keys: ConfigKeys) -> dict[str, Any]:
    keys.choice("rotary_emb_fraction", (1.0,))
    rope = {"rope_theta": keys.number("rotary_emb_base", 1000.0)}
    factor = keys.number("rotary_scaling_factor", 0.0)
    return rope | ({"rope_type": "dynamic", "factor": factor} if factor else {})


class NomicBertAttention(Layer):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.head_dim = shape.head_dim
        width = shape.heads * shape.head_dim
        self.qkv = Linear(shape.hidden, (width,) * 3)
        self.output = Linear(width, shape.hidden)
        self.attention = EncoderAttention(scale=shape.head_dim**-0.5)

    def forward(self, x_TD: Tensor, angles: Angles, step: StepInput) -> Tensor:
        query, key, value = (part.view(len(x_TD), -1, self.head_dim) for part in self.qkv.split(x_TD))
        return self.output(self.attention(query, key, value, step, angles))


class NomicBertMLP(Layer):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_up = Linear(shape.hidden, (shape.mlp, shape.mlp))
        self.down = Linear(shape.mlp, shape.hidden)

    def forward(self, x_TD: Tensor) -> Tensor:
        return self.down(ops.activation(self.gate_up(x_TD), "silu", gated=True))


class NomicBertBlock(Layer):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention = NomicBertAttention(shape)
        self.attention_norm = LayerNorm(shape.hidden, shape.eps)
        self.mlp = NomicBertMLP(shape)
        self.mlp_norm = LayerNorm(shape.hidden, shape.eps)

    def forward(self, x_TD: Tensor, angles: Angles, step: StepInput) -> Tensor:
        x_TD = self.attention_norm(ops.add(self.attention(x_TD, angles, step), x_TD))
        return self.mlp_norm(ops.add(self.mlp(x_TD), x_TD))


class NomicBertClassifier(Layer):
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


class NomicBert(Encoder):
    def __init__(self, config: EngineConfig, keys: ConfigKeys) -> None:
        super().__init__()
        shape = self.shape = read(keys, config.card.num_layers)
        self.embedding = Embedding(shape.vocab, shape.hidden)
        self.types = TokenTypes(shape.types, shape.hidden, config.scheduler.max_num_batched_tokens)
        self.norm = LayerNorm(shape.hidden, shape.eps)
        self.rotary = Rotary(
            shape.head_dim, shape.rope, trained_len=shape.trained, served_len=config.max_model_len
        )
        self.blocks = nn.ModuleList(NomicBertBlock(shape) for _ in range(shape.layers))
        self.cache_shapes = []
        if shape.classifier:
            self.dtype = getattr(torch, config.dtype)
            self.num_labels = shape.labels
            self.classified = "CLS" if shape.classifier == "sequence" else "ALL"
            self.classifier = NomicBertClassifier(shape)

    def forward(self, step: StepInput) -> Tensor:
        x_TD = self.norm(ops.add(self.embedding(step.token_ids_T), self.types(step)))
        angles = self.rotary(step.positions_T, x_TD.dtype)
        for block in self.blocks:
            x_TD = block(x_TD, angles, step)
        return x_TD

    def classify(self, hidden_RD: Tensor) -> Tensor:
        return self.classifier(hidden_RD.to(self.dtype))

    def weights(self) -> WeightMap:
        outside = {
            "embedding.weight": "embeddings.word_embeddings.weight",
            "types.table.weight": "embeddings.token_type_embeddings.weight",
        }
        layer = "encoder.layers.{}"
        per_layer: Parts = {
            "blocks.{}.attention.qkv.weight": f"{layer}.attn.Wqkv.weight",
            "blocks.{}.attention.output.weight": f"{layer}.attn.out_proj.weight",
            "blocks.{}.mlp.gate_up.weight": (f"{layer}.mlp.fc12.weight", f"{layer}.mlp.fc11.weight"),
            "blocks.{}.mlp.down.weight": f"{layer}.mlp.fc2.weight",
        }
        for kind in ("weight", "bias"):
            outside[f"norm.{kind}"] = f"emb_ln.{kind}"
            per_layer[f"blocks.{{}}.attention_norm.{kind}"] = f"{layer}.norm1.{kind}"
            per_layer[f"blocks.{{}}.mlp_norm.{kind}"] = f"{layer}.norm2.{kind}"
            if self.shape.classifier:
                outside[f"classifier.labels.{kind}"] = f"classifier.{kind}"
            if self.shape.classifier == "sequence":
                outside[f"classifier.dense.{kind}"] = f"pooler.dense.{kind}"
        return weight_map(
            outside,
            per_layer,
            self.shape.layers,
            ignored=(r"pooler\.dense\..*", r"cls\..*"),
            renames=((r"^(nomic_)?bert\.", ""),),
        )
