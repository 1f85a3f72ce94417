"""Gemma 1: pre-norm decoder with wide heads, scaled embeddings, norms around 1 and a gated GELU MLP."""

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

GELU = "gelu_pytorch_tanh"


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
    tied: bool


def read(keys: ConfigKeys, layers: int) -> Shape:
    # the first files say "gelu" and mean the approximation the model was trained with
    keys.choice("hidden_act", ("gelu", GELU), GELU)
    keys.choice("attention_bias", (False,), False)
    keys.choice("use_bidirectional_attention", (False,), False)
    heads = keys.whole("num_attention_heads")
    hidden = keys.whole("hidden_size")
    shape = Shape(
        hidden=hidden,
        mlp=keys.whole("intermediate_size"),
        layers=layers,
        heads=heads,
        kv_heads=keys.whole("num_key_value_heads", heads),
        head_dim=keys.whole("head_dim"),
        vocab=keys.whole("vocab_size"),
        eps=keys.number("rms_norm_eps"),
        activation=keys.choice("hidden_activation", (GELU,), GELU),
        rope=keys.rope(),
        tied=keys.flag("tie_word_embeddings", True),
    )
    keys.refuse_rest()
    return shape


class GemmaAttention(Layer):
    def __init__(self, shape: Shape, layer: int) -> None:
        super().__init__()
        self.head_dim = shape.head_dim
        query, key = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        self.qkv = Linear(shape.hidden, (query, key, key))
        self.output = Linear(query, shape.hidden)
        self.attention = Attention(
            layer=layer,
            scale=shape.head_dim**-0.5,
        )

    def forward(self, x_TD: Tensor, angles: Angles, step: StepInput) -> Tensor:
        query, key, value = (part.view(len(x_TD), -1, self.head_dim) for part in self.qkv.split(x_TD))
        seen = self.attention(query, key, value, step, angles)
        return self.output(seen)


class GemmaMLP(Layer):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.kind = shape.activation
        self.gate_up = Linear(shape.hidden, (shape.mlp, shape.mlp))
        self.down = Linear(shape.mlp, shape.hidden)

    def forward(self, x_TD: Tensor) -> Tensor:
        return self.down(ops.activation(self.gate_up(x_TD), self.kind, gated=True))


class GemmaBlock(Layer):
    def __init__(self, shape: Shape, layer: int) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(shape.hidden, shape.eps, offset=1.0)
        self.attention = GemmaAttention(shape, layer)
        self.mlp_norm = RMSNorm(shape.hidden, shape.eps, offset=1.0)
        self.mlp = GemmaMLP(shape)

    def forward(self, x_TD: Tensor, angles: Angles, step: StepInput) -> Tensor:
        x_TD = ops.add(x_TD, self.attention(self.attention_norm(x_TD), angles, step))
        return ops.add(x_TD, self.mlp(self.mlp_norm(x_TD)))


class Gemma(CausalLM):
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
        self.blocks = nn.ModuleList(GemmaBlock(shape, layer) for layer in range(shape.layers))
        self.norm = RMSNorm(shape.hidden, shape.eps, offset=1.0)
        self.head: Callable[..., Tensor] = (
            self.embedding.as_head if shape.tied else Linear(shape.hidden, shape.vocab)
        )
        self.cache_shapes = [LayerCache(shape.kv_heads, shape.head_dim)] * shape.layers

    def forward(self, step: StepInput) -> Tensor:
        x_TD = ops.scale(self.embedding(step.token_ids_T), self.shape.hidden**0.5)
        angles = self.rotary(step.positions_T, x_TD.dtype)
        for block in self.blocks:
            x_TD = block(x_TD, angles, step)
        return self.norm(x_TD)

    def logits(self, hidden_RD: Tensor) -> Tensor:
        return self.head(hidden_RD, float32)

    def weights(self) -> WeightMap:
        outside = {"embedding.weight": "model.embed_tokens.weight", "norm.weight": "model.norm.weight"}
        if not self.shape.tied:
            outside["head.weight"] = "lm_head.weight"
        attention, mlp = "model.layers.{}.self_attn", "model.layers.{}.mlp"
        per_layer: Parts = {
            "blocks.{}.attention_norm.weight": "model.layers.{}.input_layernorm.weight",
            "blocks.{}.attention.qkv.weight": tuple(f"{attention}.{part}_proj.weight" for part in "qkv"),
            "blocks.{}.attention.output.weight": f"{attention}.o_proj.weight",
            "blocks.{}.mlp_norm.weight": "model.layers.{}.post_attention_layernorm.weight",
            "blocks.{}.mlp.gate_up.weight": (f"{mlp}.gate_proj.weight", f"{mlp}.up_proj.weight"),
            "blocks.{}.mlp.down.weight": f"{mlp}.down_proj.weight",
        }
        ignored = (r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq", r"lm_head\.weight")
        return weight_map(outside, per_layer, self.shape.layers, ignored=ignored)
