"""StableLM: pre-norm decoder with LayerNorm, rope on a part of each head and a gated SiLU MLP."""

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
    attention_bias: bool
    is_parallel: bool
    tied: bool


def read(keys: ConfigKeys, layers: int) -> Shape:
    keys.choice("qk_layernorm", (False,), False)
    heads = keys.whole("num_attention_heads")
    hidden = keys.whole("hidden_size")
    shape = Shape(
        hidden=hidden,
        mlp=keys.whole("intermediate_size"),
        layers=layers,
        heads=heads,
        kv_heads=keys.whole("num_key_value_heads", heads),
        head_dim=hidden // heads,
        vocab=keys.whole("vocab_size"),
        eps=keys.number("layer_norm_eps", 1e-5),
        activation=keys.choice("hidden_act", ("silu",), "silu"),
        rope=keys.rope(),
        attention_bias=keys.flag("use_qkv_bias", False),
        is_parallel=keys.flag("use_parallel_residual", False),
        tied=keys.flag("tie_word_embeddings", False),
    )
    keys.refuse_rest()
    return shape


class StableLMAttention(Layer):
    def __init__(self, shape: Shape, layer: int) -> None:
        super().__init__()
        self.head_dim = shape.head_dim
        query, key = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        self.qkv = Linear(shape.hidden, (query, key, key), bias=shape.attention_bias)
        self.output = Linear(query, shape.hidden)
        self.attention = Attention(
            layer=layer,
            scale=shape.head_dim**-0.5,
        )

    def forward(self, x_TD: Tensor, angles: Angles, step: StepInput) -> Tensor:
        query, key, value = (part.view(len(x_TD), -1, self.head_dim) for part in self.qkv.split(x_TD))
        seen = self.attention(query, key, value, step, angles)
        return self.output(seen)


class StableLMMLP(Layer):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.kind = shape.activation
        self.gate_up = Linear(shape.hidden, (shape.mlp, shape.mlp))
        self.down = Linear(shape.mlp, shape.hidden)

    def forward(self, x_TD: Tensor) -> Tensor:
        return self.down(ops.activation(self.gate_up(x_TD), self.kind, gated=True))


class StableLMBlock(Layer):
    """One after the other, or attention and MLP side by side on the same norm."""

    def __init__(self, shape: Shape, layer: int) -> None:
        super().__init__()
        self.attention_norm = LayerNorm(shape.hidden, shape.eps)
        self.attention = StableLMAttention(shape, layer)
        self.mlp_norm = None if shape.is_parallel else LayerNorm(shape.hidden, shape.eps)
        self.mlp = StableLMMLP(shape)

    def forward(self, x_TD: Tensor, angles: Angles, step: StepInput) -> Tensor:
        normed_TD = self.attention_norm(x_TD)
        x_TD = ops.add(x_TD, self.attention(normed_TD, angles, step))
        return ops.add(x_TD, self.mlp(normed_TD if self.mlp_norm is None else self.mlp_norm(x_TD)))


class StableLM(CausalLM):
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
        self.blocks = nn.ModuleList(StableLMBlock(shape, layer) for layer in range(shape.layers))
        self.norm = LayerNorm(shape.hidden, shape.eps)
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
        return self.head(hidden_RD, float32)

    def weights(self) -> WeightMap:
        outside = {"embedding.weight": "model.embed_tokens.weight"}
        if not self.shape.tied:
            outside["head.weight"] = "lm_head.weight"
        attention, mlp = "model.layers.{}.self_attn", "model.layers.{}.mlp"
        per_layer: Parts = {
            "blocks.{}.attention.output.weight": f"{attention}.o_proj.weight",
            "blocks.{}.mlp.gate_up.weight": (f"{mlp}.gate_proj.weight", f"{mlp}.up_proj.weight"),
            "blocks.{}.mlp.down.weight": f"{mlp}.down_proj.weight",
        }
        for kind in ("weight", "bias"):
            outside[f"norm.{kind}"] = f"model.norm.{kind}"
            per_layer[f"blocks.{{}}.attention_norm.{kind}"] = f"model.layers.{{}}.input_layernorm.{kind}"
            if not self.shape.is_parallel:
                per_layer[f"blocks.{{}}.mlp_norm.{kind}"] = (
                    f"model.layers.{{}}.post_attention_layernorm.{kind}"
                )
            if kind == "weight" or self.shape.attention_bias:
                names = tuple(f"{attention}.{part}_proj.{kind}" for part in "qkv")
                per_layer[f"blocks.{{}}.attention.qkv.{kind}"] = names
        ignored = (r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq", r"lm_head\.weight")
        return weight_map(outside, per_layer, self.shape.layers, ignored=ignored)
