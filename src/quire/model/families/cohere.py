"""Cohere Command R and R7B: attention and MLP side by side on one norm; rope that turns neighbouring numbers.

Rope here turns the numbers 2i and 2i + 1 of a head together, the ops i and i + half. So the rows of query and key
projections are put in another order when they are loaded, which leaves every score as it is.
"""

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
    LayerNorm,
    Linear,
    Rotary,
    StepInput,
)
from quire.model.weight_map import Parts, WeightMap, weight_map


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What the card says, in this file's words. Layers of Command R7B that see the whole past have no rope."""

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
    windows: list[int]  # per layer; 0 sees the whole past
    turns: list[bool]  # per layer: whether positions turn its queries and keys
    attention_bias: bool
    logit_scale: float
    tied: bool


def read(keys: ConfigKeys, layers: int) -> Shape:
    is_windowed = keys.values.get("sliding_window") is not None
    every = keys.whole("sliding_window_pattern", 4) if is_windowed else 1
    usual = ["sliding_attention" if (layer + 1) % every else "full_attention" for layer in range(layers)]
    kinds = keys.layer_types(layers, usual)
    window = keys.whole("sliding_window", 0)
    heads = keys.whole("num_attention_heads")
    hidden = keys.whole("hidden_size")
    keys.choice("use_qk_norm", (False,), False)
    _check_release(keys)
    shape = Shape(
        hidden=hidden,
        mlp=keys.whole("intermediate_size"),
        layers=layers,
        heads=heads,
        kv_heads=keys.whole("num_key_value_heads", heads),
        head_dim=keys.whole("head_dim", hidden // heads),
        vocab=keys.whole("vocab_size"),
        eps=keys.number("layer_norm_eps", 1e-5),
        activation=keys.choice("hidden_act", ("silu",), "silu"),
        rope=keys.rope(),
        windows=[window if kind == "sliding_attention" else 0 for kind in kinds],
        turns=[kind == "sliding_attention" or not is_windowed for kind in kinds],
        attention_bias=keys.flag("attention_bias", False),
        logit_scale=keys.number("logit_scale", 0.0625),
        tied=keys.flag("tie_word_embeddings", True),
    )
    keys.refuse_rest("layer_switch")  # an older name of sliding_window_pattern, written beside it
    return shape


def _check_release(keys: ConfigKeys) -> None:
    """Keys of Command R7B's file that say in words what its code does always."""
    keys.choice("position_embedding_type", ("rope_gptj",), "rope_gptj")
    keys.choice("order_of_interleaved_layers", ("local_attn_first",), "local_attn_first")
    keys.choice("rotary_pct", (1.0,), 1.0)
    for part in ("embedding_sharing", "gated_activation", "parallel_block", "parallel_embedding"):
        keys.choice(f"use_{part}", (True,), True)


class CohereAttention(Layer):
    def __init__(self, shape: Shape, layer: int) -> None:
        super().__init__()
        self.head_dim = shape.head_dim
        self.is_turned = shape.turns[layer]
        query, key = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        self.qkv = Linear(shape.hidden, (query, key, key), bias=shape.attention_bias)
        self.output = Linear(query, shape.hidden, bias=shape.attention_bias)
        self.attention = Attention(
            layer=layer,
            scale=shape.head_dim**-0.5,
            window=shape.windows[layer],
        )

    def forward(self, x_TD: Tensor, angles: Angles, step: StepInput) -> Tensor:
        query, key, value = (part.view(len(x_TD), -1, self.head_dim) for part in self.qkv.split(x_TD))
        seen = self.attention(query, key, value, step, angles if self.is_turned else None)
        return self.output(seen)


class CohereMLP(Layer):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.kind = shape.activation
        self.gate_up = Linear(shape.hidden, (shape.mlp, shape.mlp))
        self.down = Linear(shape.mlp, shape.hidden)

    def forward(self, x_TD: Tensor) -> Tensor:
        return self.down(ops.activation(self.gate_up(x_TD), self.kind, gated=True))


class CohereBlock(Layer):
    def __init__(self, shape: Shape, layer: int) -> None:
        super().__init__()
        self.norm = LayerNorm(shape.hidden, shape.eps, bias=False)
        self.attention = CohereAttention(shape, layer)
        self.mlp = CohereMLP(shape)

    def forward(self, x_TD: Tensor, angles: Angles, step: StepInput) -> Tensor:
        normed_TD = self.norm(x_TD)
        x_TD = ops.add(x_TD, self.attention(normed_TD, angles, step))
        return ops.add(x_TD, self.mlp(normed_TD))


class Cohere(CausalLM):
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
        self.blocks = nn.ModuleList(CohereBlock(shape, layer) for layer in range(shape.layers))
        self.norm = LayerNorm(shape.hidden, shape.eps, bias=False)
        self.head: Callable[..., Tensor] = (
            self.embedding.as_head if shape.tied else Linear(shape.hidden, shape.vocab)
        )
        self.cache_shapes = [LayerCache(shape.kv_heads, shape.head_dim)] * shape.layers

    def forward(self, step: StepInput) -> Tensor:
        x_TD = self.embedding(step.token_ids_T)
        angles = self.rotary(step.positions_T, x_TD.dtype)
        for block in self.blocks:
            x_TD = block(x_TD, angles, step)
        return self.norm(x_TD)

    def logits(self, hidden_RD: Tensor) -> Tensor:
        return ops.scale(self.head(hidden_RD, float32), self.shape.logit_scale)

    def weights(self) -> WeightMap:
        shape = self.shape
        outside = {"embedding.weight": "model.embed_tokens.weight", "norm.weight": "model.norm.weight"}
        if not shape.tied:
            outside["head.weight"] = "lm_head.weight"
        attention, mlp = "model.layers.{}.self_attn", "model.layers.{}.mlp"
        per_layer: Parts = {
            "blocks.{}.norm.weight": "model.layers.{}.input_layernorm.weight",
            "blocks.{}.mlp.gate_up.weight": (f"{mlp}.gate_proj.weight", f"{mlp}.up_proj.weight"),
            "blocks.{}.mlp.down.weight": f"{mlp}.down_proj.weight",
        }
        paired_heads: dict[str, tuple[int, ...]] = {}
        for kind in ("weight", "bias") if shape.attention_bias else ("weight",):
            qkv = f"blocks.{{}}.attention.qkv.{kind}"
            per_layer[qkv] = tuple(f"{attention}.{part}_proj.{kind}" for part in "qkv")
            paired_heads[qkv] = (shape.heads, shape.kv_heads, 0)
            per_layer[f"blocks.{{}}.attention.output.{kind}"] = f"{attention}.o_proj.{kind}"
        ignored = (r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq", r"lm_head\.weight")
        return weight_map(outside, per_layer, shape.layers, paired_heads=paired_heads, ignored=ignored)
