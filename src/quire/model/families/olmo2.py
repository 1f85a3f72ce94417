"""OLMo 2 and 3: decoder that normalises what attention and MLP give; OLMo 3 has layers with a window."""

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

KINDS = ("full_attention", "sliding_attention")


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
    windows: list[int]  # per layer; 0 sees the whole past
    ropes: dict[bool, dict[str, Any]]  # of layers that see the whole past, and of those that do not
    attention_bias: bool
    tied: bool


def read(keys: ConfigKeys, layers: int) -> Shape:
    heads = keys.whole("num_attention_heads")
    hidden = keys.whole("hidden_size")
    kinds = keys.layer_types(layers, _usual_kinds(keys, layers))
    window = keys.whole("sliding_window", 0)
    windows = [window if kind == "sliding_attention" else 0 for kind in kinds]
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
        windows=windows,
        ropes=_ropes(keys),
        attention_bias=keys.flag("attention_bias", False),
        tied=keys.flag("tie_word_embeddings", False),
    )
    keys.refuse_rest()
    return shape


def _usual_kinds(keys: ConfigKeys, layers: int) -> list[str]:
    """Where the file does not list them: three layers of OLMo 3 with a window, then one without; none of OLMo 2."""
    every = 4 if keys.values.get("sliding_window") else 1
    return ["sliding_attention" if (layer + 1) % every else "full_attention" for layer in range(layers)]


def _ropes(keys: ConfigKeys) -> dict[bool, dict[str, Any]]:
    """A stretch is for layers that see the whole past; the files give one rope, or one for each kind."""
    given = keys.mapping("rope_parameters", {})
    if "full_attention" in given:
        older = {"rope_theta": keys.number("rope_theta", 500_000.0)}
        return {kind == "full_attention": older | dict(given.get(kind) or {}) for kind in KINDS}
    rope = keys.rope()
    return {True: rope, False: {"rope_theta": rope["rope_theta"]}}


class Olmo2Attention(Layer):
    """Queries and keys are normalised over all their heads at once."""

    def __init__(self, shape: Shape, layer: int) -> None:
        super().__init__()
        self.head_dim = shape.head_dim
        query, key = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        self.qkv = Linear(shape.hidden, (query, key, key), bias=shape.attention_bias)
        self.query_norm = RMSNorm(query, shape.eps)
        self.key_norm = RMSNorm(key, shape.eps)
        self.output = Linear(query, shape.hidden, bias=shape.attention_bias)
        self.attention = Attention(
            layer=layer,
            scale=shape.head_dim**-0.5,
            window=shape.windows[layer],
        )

    def forward(self, x_TD: Tensor, angles: Angles, step: StepInput) -> Tensor:
        query_TD, key_TD, value_TD = self.qkv.split(x_TD)
        parts = (self.query_norm(query_TD), self.key_norm(key_TD), value_TD)
        query, key, value = (part.view(len(x_TD), -1, self.head_dim) for part in parts)
        seen = self.attention(query, key, value, step, angles)
        return self.output(seen)


class Olmo2MLP(Layer):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.kind = shape.activation
        self.gate_up = Linear(shape.hidden, (shape.mlp, shape.mlp))
        self.down = Linear(shape.mlp, shape.hidden)

    def forward(self, x_TD: Tensor) -> Tensor:
        return self.down(ops.activation(self.gate_up(x_TD), self.kind, gated=True))


class Olmo2Block(Layer):
    def __init__(self, shape: Shape, layer: int) -> None:
        super().__init__()
        self.sees_all = shape.windows[layer] == 0
        self.attention = Olmo2Attention(shape, layer)
        self.attention_norm = RMSNorm(shape.hidden, shape.eps)
        self.mlp = Olmo2MLP(shape)
        self.mlp_norm = RMSNorm(shape.hidden, shape.eps)

    def forward(self, x_TD: Tensor, angles: dict[bool, Angles], step: StepInput) -> Tensor:
        seen_TD = self.attention(x_TD, angles[self.sees_all], step)
        x_TD = ops.add(x_TD, self.attention_norm(seen_TD))
        return ops.add(x_TD, self.mlp_norm(self.mlp(x_TD)))


class Olmo2(CausalLM):
    def __init__(self, config: EngineConfig, keys: ConfigKeys) -> None:
        super().__init__()
        shape = self.shape = read(keys, config.card.num_layers)
        self.embedding = Embedding(shape.vocab, shape.hidden)
        self.rotaries = {
            sees_all: Rotary(
                shape.head_dim,
                shape.ropes[sees_all],
                trained_len=keys.whole("max_position_embeddings"),
                served_len=config.max_model_len,
            )
            for sees_all in sorted({window == 0 for window in shape.windows})
        }
        self.blocks = nn.ModuleList(Olmo2Block(shape, layer) for layer in range(shape.layers))
        self.norm = RMSNorm(shape.hidden, shape.eps)
        self.head: Callable[..., Tensor] = (
            self.embedding.as_head if shape.tied else Linear(shape.hidden, shape.vocab)
        )
        self.cache_shapes = [LayerCache(shape.kv_heads, shape.head_dim)] * shape.layers

    def forward(self, step: StepInput) -> Tensor:
        x_TD = self.embedding(step.token_ids_T)
        angles = {kind: rotary(step.positions_T, x_TD.dtype) for kind, rotary in self.rotaries.items()}
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
            "blocks.{}.attention.query_norm.weight": f"{attention}.q_norm.weight",
            "blocks.{}.attention.key_norm.weight": f"{attention}.k_norm.weight",
            "blocks.{}.attention_norm.weight": "model.layers.{}.post_attention_layernorm.weight",
            "blocks.{}.mlp.gate_up.weight": (f"{mlp}.gate_proj.weight", f"{mlp}.up_proj.weight"),
            "blocks.{}.mlp.down.weight": f"{mlp}.down_proj.weight",
            "blocks.{}.mlp_norm.weight": "model.layers.{}.post_feedforward_layernorm.weight",
        }
        for kind in ("weight", "bias") if self.shape.attention_bias else ("weight",):
            per_layer[f"blocks.{{}}.attention.qkv.{kind}"] = tuple(
                f"{attention}.{p}_proj.{kind}" for p in "qkv"
            )
            per_layer[f"blocks.{{}}.attention.output.{kind}"] = f"{attention}.o_proj.{kind}"
        ignored = (r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq", r"lm_head\.weight")
        return weight_map(outside, per_layer, self.shape.layers, ignored=ignored)
