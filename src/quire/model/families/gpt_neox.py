"""GPT-NeoX and Pythia: attention and MLP side by side on the same residual, rope on a part of each head, and
query, key and value of one head stored next to each other in a single matrix."""

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
    vocab: int
    eps: float
    activation: str
    rope: dict[str, Any]
    parallel: bool
    attention_bias: bool
    tied: bool

    @property
    def head_dim(self) -> int:
        return self.hidden // self.heads


def read(keys: ConfigKeys, layers: int) -> Shape:
    older = {
        "rope_theta": keys.number("rotary_emb_base", 10000.0),
        "partial_rotary_factor": keys.number("rotary_pct", 0.25),
    }
    shape = Shape(
        hidden=keys.whole("hidden_size"),
        mlp=keys.whole("intermediate_size"),
        layers=layers,
        heads=keys.whole("num_attention_heads"),
        vocab=keys.whole("vocab_size"),
        eps=keys.number("layer_norm_eps", 1e-5),
        activation=keys.choice(
            "hidden_act", ("gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "relu"), "gelu"
        ),
        rope=older | keys.mapping("rope_scaling", {}) | keys.mapping("rope_parameters", {}),
        parallel=keys.flag("use_parallel_residual", True),
        attention_bias=keys.flag("attention_bias", True),
        tied=keys.flag("tie_word_embeddings", False),
    )
    keys.refuse_rest()
    return shape


class GPTNeoXAttention(Layer):
    def __init__(self, shape: Shape, layer: int) -> None:
        super().__init__()
        self.head_dim = shape.head_dim
        self.qkv = Linear(shape.hidden, 3 * shape.hidden, bias=shape.attention_bias)
        self.output = Linear(shape.hidden, shape.hidden, bias=shape.attention_bias)
        self.attention = Attention(
            layer=layer,
            scale=shape.head_dim**-0.5,
        )

    def forward(self, x_TD: Tensor, angles: Angles, step: StepInput) -> Tensor:
        query, key, value = self.qkv(x_TD).view(len(x_TD), -1, 3, self.head_dim).unbind(-2)
        return self.output(self.attention(angles.turn(query), angles.turn(key), value, step))


class GPTNeoXMLP(Layer):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.kind = shape.activation
        self.up = Linear(shape.hidden, shape.mlp, bias=True)
        self.down = Linear(shape.mlp, shape.hidden, bias=True)

    def forward(self, x_TD: Tensor) -> Tensor:
        return self.down(ops.activation(self.up(x_TD), self.kind))


class GPTNeoXBlock(Layer):
    def __init__(self, shape: Shape, layer: int) -> None:
        super().__init__()
        self.parallel = shape.parallel
        self.attention_norm = LayerNorm(shape.hidden, shape.eps)
        self.attention = GPTNeoXAttention(shape, layer)
        self.mlp_norm = LayerNorm(shape.hidden, shape.eps)
        self.mlp = GPTNeoXMLP(shape)

    def forward(self, x_TD: Tensor, angles: Angles, step: StepInput) -> Tensor:
        attended = self.attention(self.attention_norm(x_TD), angles, step)
        if self.parallel:
            return self.mlp(self.mlp_norm(x_TD)) + attended + x_TD
        x_TD = x_TD + attended
        return x_TD + self.mlp(self.mlp_norm(x_TD))


class GPTNeoX(CausalLM):
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
        self.blocks = nn.ModuleList(GPTNeoXBlock(shape, layer) for layer in range(shape.layers))
        self.norm = LayerNorm(shape.hidden, shape.eps)
        self.head: Callable[..., Tensor] = (
            self.embedding.as_head if shape.tied else Linear(shape.hidden, shape.vocab)
        )
        self.cache_shapes = [LayerCache(shape.heads, shape.head_dim)] * shape.layers

    def forward(self, step: StepInput) -> Tensor:
        x_TD = self.embedding(step.token_ids_T)
        angles = self.rotary(step.positions_T, x_TD.dtype)
        for block in self.blocks:
            x_TD = block(x_TD, angles, step)
        return self.norm(x_TD)

    def logits(self, hidden_RD: Tensor) -> Tensor:
        return self.head(hidden_RD, float32)

    def weights(self) -> WeightMap:
        outside = {
            "embedding.weight": "gpt_neox.embed_in.weight",
            "norm.weight": "gpt_neox.final_layer_norm.weight",
            "norm.bias": "gpt_neox.final_layer_norm.bias",
        }
        if not self.shape.tied:
            outside["head.weight"] = "embed_out.weight"
        parts = {
            "attention_norm": "input_layernorm",
            "attention.qkv": "attention.query_key_value",
            "attention.output": "attention.dense",
            "mlp_norm": "post_attention_layernorm",
            "mlp.up": "mlp.dense_h_to_4h",
            "mlp.down": "mlp.dense_4h_to_h",
        }
        per_layer: Parts = {
            f"blocks.{{}}.{ours}.{kind}": f"gpt_neox.layers.{{}}.{theirs}.{kind}"
            for ours, theirs in parts.items()
            for kind in ("weight", "bias")
            if kind == "weight" or self.shape.attention_bias or not ours.startswith("attention.")
        }
        buffers = r"gpt_neox\.layers\.\d+\.attention\.((masked_)?bias|rotary_emb\.inv_freq)"
        return weight_map(outside, per_layer, self.shape.layers, ignored=(buffers, r"embed_out\.weight"))
