"""Granite 3: a Granite whose embeddings, scores, residuals and logits are scaled by numbers of the checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, float32, nn

from quire.base.config import EngineConfig
from quire.model import ops
from quire.model.checkpoint import ConfigKeys
from quire.model.layers import (
    Angles,
    Attention,
    CausalLM,
    Embedding,
    Layer,
    LayerCache,
    Linear,
    RMSNorm,
    Rotary,
    StepInput,
)
from quire.model.weight_map import Parts, WeightMap, weight_map


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What the card says, in this file's words."""

    hidden: int
    mlp: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    eps: float
    activation: str
    rope: dict[str, Any]
    embedding_scale: float
    attention_scale: float
    residual_scale: float
    logit_divisor: float
    attention_bias: bool
    mlp_bias: bool
    tied: bool


def read(keys: ConfigKeys, layers: int) -> Shape:
    heads = keys.whole("num_attention_heads")
    hidden = keys.whole("hidden_size")
    shape = Shape(
        hidden=hidden,
        mlp=keys.whole("intermediate_size"),
        layers=layers,
        heads=heads,
        kv_heads=keys.whole("num_key_value_heads", heads),
        head_dim=keys.whole("head_dim", hidden // heads),
        vocab=keys.whole("vocab_size"),
        eps=keys.number("rms_norm_eps"),
        activation=keys.choice("hidden_act", ("silu",), "silu"),
        rope=keys.rope(),
        embedding_scale=keys.number("embedding_multiplier", 1.0),
        attention_scale=keys.number("attention_multiplier", 1.0),
        residual_scale=keys.number("residual_multiplier", 1.0),
        logit_divisor=keys.number("logits_scaling", 1.0),
        attention_bias=keys.flag("attention_bias", False),
        mlp_bias=keys.flag("mlp_bias", False),
        tied=keys.flag("tie_word_embeddings", False),
    )
    keys.refuse_rest()
    return shape


class GraniteAttention(Layer):
    def __init__(self, shape: Shape, layer: int) -> None:
        super().__init__()
        self.head_dim = shape.head_dim
        query, key = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        self.qkv = Linear(shape.hidden, (query, key, key), bias=shape.attention_bias)
        self.output = Linear(query, shape.hidden, bias=shape.attention_bias)
        self.attention = Attention(
            layer=layer,
            scale=shape.attention_scale,
        )

    def forward(self, x_TD: Tensor, angles: Angles, step: StepInput) -> Tensor:
        query, key, value = (part.view(len(x_TD), -1, self.head_dim) for part in self.qkv.split(x_TD))
        seen = self.attention(query, key, value, step, angles)
        return self.output(seen)


class GraniteMLP(Layer):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.kind = shape.activation
        self.gate_up = Linear(shape.hidden, (shape.mlp, shape.mlp), bias=shape.mlp_bias)
        self.down = Linear(shape.mlp, shape.hidden, bias=shape.mlp_bias)

    def forward(self, x_TD: Tensor) -> Tensor:
        return self.down(ops.activation(self.gate_up(x_TD), self.kind, gated=True))


class GraniteBlock(Layer):
    def __init__(self, shape: Shape, layer: int) -> None:
        super().__init__()
        self.residual_scale = shape.residual_scale
        self.attention_norm = RMSNorm(shape.hidden, shape.eps)
        self.attention = GraniteAttention(shape, layer)
        self.mlp_norm = RMSNorm(shape.hidden, shape.eps)
        self.mlp = GraniteMLP(shape)

    def forward(self, x_TD: Tensor, angles: Angles, step: StepInput) -> Tensor:
        seen_TD = self.attention(self.attention_norm(x_TD), angles, step)
        x_TD = ops.add(x_TD, ops.scale(seen_TD, self.residual_scale))
        return ops.add(x_TD, ops.scale(self.mlp(self.mlp_norm(x_TD)), self.residual_scale))


class Granite(CausalLM):
    def __init__(self, config: EngineConfig, keys: ConfigKeys) -> None:
        super().__init__()
        shape = self.shape = read(keys, config.card.num_layers)
        self.embedding = Embedding(shape.vocab, shape.hidden)
        self.rotary = Rotary(
            shape.head_dim,
            shape.rope,
            trained_len=keys.whole("max_position_embeddings"),
            served_len=config.max_model_len,
        )
        self.blocks = nn.ModuleList(GraniteBlock(shape, layer) for layer in range(shape.layers))
        self.norm = RMSNorm(shape.hidden, shape.eps)
        self.head: Callable[..., Tensor] = (
            self.embedding.as_head if shape.tied else Linear(shape.hidden, shape.vocab)
        )
        self.cache_shapes = [LayerCache(shape.kv_heads, shape.head_dim)] * shape.layers

    def forward(self, step: StepInput) -> Tensor:
        x_TD = ops.scale(self.embedding(step.token_ids_T), self.shape.embedding_scale)
        angles = self.rotary(step.positions_T, x_TD.dtype)
        for block in self.blocks:
            x_TD = block(x_TD, angles, step)
        return self.norm(x_TD)

    def logits(self, hidden_RD: Tensor) -> Tensor:
        return ops.scale(self.head(hidden_RD, float32), 1.0 / self.shape.logit_divisor)

    def weights(self) -> WeightMap:
        outside = {"embedding.weight": "model.embed_tokens.weight", "norm.weight": "model.norm.weight"}
        if not self.shape.tied:
            outside["head.weight"] = "lm_head.weight"
        attention, mlp = "model.layers.{}.self_attn", "model.layers.{}.mlp"
        per_layer: Parts = {
            "blocks.{}.attention_norm.weight": "model.layers.{}.input_layernorm.weight",
            "blocks.{}.mlp_norm.weight": "model.layers.{}.post_attention_layernorm.weight",
        }
        for kind in ("weight", "bias") if self.shape.attention_bias else ("weight",):
            per_layer[f"blocks.{{}}.attention.qkv.{kind}"] = tuple(
                f"{attention}.{p}_proj.{kind}" for p in "qkv"
            )
            per_layer[f"blocks.{{}}.attention.output.{kind}"] = f"{attention}.o_proj.{kind}"
        for kind in ("weight", "bias") if self.shape.mlp_bias else ("weight",):
            per_layer[f"blocks.{{}}.mlp.gate_up.{kind}"] = (
                f"{mlp}.gate_proj.{kind}",
                f"{mlp}.up_proj.{kind}",
            )
            per_layer[f"blocks.{{}}.mlp.down.{kind}"] = f"{mlp}.down_proj.{kind}"
        ignored = (r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq", r"lm_head\.weight")
        return weight_map(outside, per_layer, self.shape.layers, ignored=ignored)
