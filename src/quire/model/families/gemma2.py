"""Gemma 2: norms before and after each half, scores and logits kept in bounds by soft caps, and a sliding window
in every other layer. Embeddings are scaled by √hidden; norm weights are stored as their distance from 1."""

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

GELU = ("gelu_pytorch_tanh",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What the card says, in this file's words. A soft cap of 0 means none."""

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
    query_scalar: float
    score_cap: float
    logit_cap: float
    windows: tuple[int, ...]  # per layer; 0 sees the whole past
    tied: bool


def read(keys: ConfigKeys, layers: int) -> Shape:
    usual = ["full_attention" if layer % 2 else "sliding_attention" for layer in range(layers)]
    kinds = keys.layer_types(layers, usual)
    window = keys.whole("sliding_window", 4096)
    keys.choice("hidden_act", GELU, GELU[0])
    keys.choice("attention_bias", (False,), False)
    shape = Shape(
        hidden=keys.whole("hidden_size"),
        mlp=keys.whole("intermediate_size"),
        layers=layers,
        heads=keys.whole("num_attention_heads"),
        kv_heads=keys.whole("num_key_value_heads"),
        head_dim=keys.whole("head_dim"),
        vocab=keys.whole("vocab_size"),
        eps=keys.number("rms_norm_eps"),
        activation=keys.choice("hidden_activation", GELU, GELU[0]),
        rope=keys.rope(),
        query_scalar=keys.number("query_pre_attn_scalar"),
        score_cap=keys.number("attn_logit_softcapping", 0.0),
        logit_cap=keys.number("final_logit_softcapping", 0.0),
        windows=tuple(window if kind == "sliding_attention" else 0 for kind in kinds),
        tied=keys.flag("tie_word_embeddings", True),
    )
    keys.refuse_rest("sliding_window_size")  # an older name of sliding_window, written beside it
    return shape


class Gemma2Attention(Layer):
    def __init__(self, shape: Shape, layer: int) -> None:
        super().__init__()
        self.head_dim = shape.head_dim
        query, key = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        self.qkv = Linear(shape.hidden, (query, key, key))
        self.output = Linear(query, shape.hidden)
        self.attention = Attention(
            layer=layer,
            scale=shape.query_scalar**-0.5,
            window=shape.windows[layer],
            soft_cap=shape.score_cap,
        )

    def forward(self, x_TD: Tensor, angles: Angles, step: StepInput) -> Tensor:
        query, key, value = (part.view(len(x_TD), -1, self.head_dim) for part in self.qkv.split(x_TD))
        return self.output(self.attention(angles.turn(query), angles.turn(key), value, step))


class Gemma2MLP(Layer):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.kind = shape.activation
        self.gate_up = Linear(shape.hidden, (shape.mlp, shape.mlp))
        self.down = Linear(shape.mlp, shape.hidden)

    def forward(self, x_TD: Tensor) -> Tensor:
        return self.down(ops.activation(self.gate_up(x_TD), self.kind, gated=True))


class Gemma2Block(Layer):
    def __init__(self, shape: Shape, layer: int) -> None:
        super().__init__()
        self.before_attention = RMSNorm(shape.hidden, shape.eps, offset=1.0)
        self.attention = Gemma2Attention(shape, layer)
        self.after_attention = RMSNorm(shape.hidden, shape.eps, offset=1.0)
        self.before_mlp = RMSNorm(shape.hidden, shape.eps, offset=1.0)
        self.mlp = Gemma2MLP(shape)
        self.after_mlp = RMSNorm(shape.hidden, shape.eps, offset=1.0)

    def forward(self, x_TD: Tensor, angles: Angles, step: StepInput) -> Tensor:
        x_TD = x_TD + self.after_attention(self.attention(self.before_attention(x_TD), angles, step))
        return x_TD + self.after_mlp(self.mlp(self.before_mlp(x_TD)))


class Gemma2(CausalLM):
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
        self.blocks = nn.ModuleList(Gemma2Block(shape, layer) for layer in range(shape.layers))
        self.norm = RMSNorm(shape.hidden, shape.eps, offset=1.0)
        self.head: Callable[..., Tensor] = (
            self.embedding.as_head if shape.tied else Linear(shape.hidden, shape.vocab)
        )
        self.cache_shapes = [LayerCache(shape.kv_heads, shape.head_dim)] * shape.layers

    def forward(self, step: StepInput) -> Tensor:
        x_TD = self.embedding(step.token_ids_T)
        x_TD = x_TD * x_TD.new_tensor(self.shape.hidden**0.5)  # rounded to the dtype first, as in training
        angles = self.rotary(step.positions_T, x_TD.dtype)
        for block in self.blocks:
            x_TD = block(x_TD, angles, step)
        return self.norm(x_TD)

    def logits(self, hidden_RD: Tensor) -> Tensor:
        logits = self.head(hidden_RD, float32)
        return ops.soft_cap(logits, self.shape.logit_cap) if self.shape.logit_cap else logits

    def weights(self) -> WeightMap:
        outside = {"embedding.weight": "model.embed_tokens.weight", "norm.weight": "model.norm.weight"}
        if not self.shape.tied:
            outside["head.weight"] = "lm_head.weight"
        attention, mlp = "model.layers.{}.self_attn", "model.layers.{}.mlp"
        per_layer: Parts = {
            "blocks.{}.before_attention.weight": "model.layers.{}.input_layernorm.weight",
            "blocks.{}.attention.qkv.weight": tuple(f"{attention}.{part}_proj.weight" for part in "qkv"),
            "blocks.{}.attention.output.weight": f"{attention}.o_proj.weight",
            "blocks.{}.after_attention.weight": "model.layers.{}.post_attention_layernorm.weight",
            "blocks.{}.before_mlp.weight": "model.layers.{}.pre_feedforward_layernorm.weight",
            "blocks.{}.mlp.gate_up.weight": (f"{mlp}.gate_proj.weight", f"{mlp}.up_proj.weight"),
            "blocks.{}.mlp.down.weight": f"{mlp}.down_proj.weight",
            "blocks.{}.after_mlp.weight": "model.layers.{}.post_feedforward_layernorm.weight",
        }
        ignored = (r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq", r"lm_head\.weight")
        return weight_map(outside, per_layer, self.shape.layers, ignored=ignored)
