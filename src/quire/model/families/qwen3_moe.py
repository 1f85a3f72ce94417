"""Qwen3-MoE: Qwen3 with experts in place of the MLP, of which a router picks a few for each token."""

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
    Experts,
    Layer,
    LayerCache,
    Linear,
    RMSNorm,
    Rotary,
    StepInput,
)
from quire.model.weight_map import OfExperts, Parts, WeightMap, weight_map


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What the card says, in this file's words."""

    hidden: int
    expert: int  # width of one
    experts: int
    chosen: int  # of them, by each token
    renormalises: bool  # weights of the chosen add up to 1
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    eps: float
    activation: str
    rope: dict[str, Any]
    attention_bias: bool
    window: int  # of every layer; 0 sees the whole past
    tied: bool


def read(keys: ConfigKeys, layers: int) -> Shape:
    heads = keys.whole("num_attention_heads")
    hidden = keys.whole("hidden_size")
    experts = keys.experts()
    keys.choice("decoder_sparse_step", (1,), 1)  # layers without experts
    keys.choice("mlp_only_layers", ([],), [])
    shape = Shape(
        hidden=hidden,
        expert=keys.whole("moe_intermediate_size"),
        experts=experts,
        chosen=keys.whole("num_experts_per_tok", least=1, most=experts),
        renormalises=keys.flag("norm_topk_prob", False),
        layers=layers,
        heads=heads,
        kv_heads=keys.whole("num_key_value_heads", heads),
        head_dim=keys.whole("head_dim", hidden // heads),
        vocab=keys.whole("vocab_size"),
        eps=keys.number("rms_norm_eps"),
        activation=keys.choice("hidden_act", ("silu",), "silu"),
        rope=keys.rope(),
        attention_bias=keys.flag("attention_bias", False),
        window=keys.whole("sliding_window", 0) if keys.flag("use_sliding_window", False) else 0,
        tied=keys.flag("tie_word_embeddings", False),
    )
    # transformers passes over max_window_layers for this model: a window is every layer's
    keys.refuse_rest("sliding_window", "max_window_layers", "intermediate_size", "router_aux_loss_coef")
    return shape


class Qwen3MoeAttention(Layer):
    def __init__(self, shape: Shape, layer: int) -> None:
        super().__init__()
        self.head_dim = shape.head_dim
        query, key = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        self.qkv = Linear(shape.hidden, (query, key, key), bias=shape.attention_bias)
        self.output = Linear(query, shape.hidden, bias=shape.attention_bias)
        self.query_norm = RMSNorm(shape.head_dim, shape.eps)
        self.key_norm = RMSNorm(shape.head_dim, shape.eps)
        self.attention = Attention(
            layer=layer,
            scale=shape.head_dim**-0.5,
            window=shape.window,
        )

    def forward(self, x_TD: Tensor, angles: Angles, step: StepInput) -> Tensor:
        query, key, value = (part.view(len(x_TD), -1, self.head_dim) for part in self.qkv.split(x_TD))
        norms = self.query_norm, self.key_norm
        return self.output(self.attention(query, key, value, step, angles, norms))


class Qwen3MoeBlock(Layer):
    def __init__(self, shape: Shape, layer: int) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(shape.hidden, shape.eps)
        self.attention = Qwen3MoeAttention(shape, layer)
        self.expert_norm = RMSNorm(shape.hidden, shape.eps)
        self.experts = Experts(
            shape.hidden,
            shape.expert,
            count=shape.experts,
            chosen=shape.chosen,
            activation=shape.activation,
            renormalises=shape.renormalises,
        )

    def forward(self, x_TD: Tensor, angles: Angles, step: StepInput) -> Tensor:
        x_TD = ops.add(x_TD, self.attention(self.attention_norm(x_TD), angles, step))
        return ops.add(x_TD, self.experts(self.expert_norm(x_TD)))


class Qwen3Moe(CausalLM):
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
        self.blocks = nn.ModuleList(Qwen3MoeBlock(shape, layer) for layer in range(shape.layers))
        self.norm = RMSNorm(shape.hidden, shape.eps)
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
        outside = {"embedding.weight": "model.embed_tokens.weight", "norm.weight": "model.norm.weight"}
        if not self.shape.tied:
            outside["head.weight"] = "lm_head.weight"
        attention, mlp = "model.layers.{}.self_attn", "model.layers.{}.mlp"
        count = self.shape.experts
        per_layer: Parts = {
            "blocks.{}.attention_norm.weight": "model.layers.{}.input_layernorm.weight",
            "blocks.{}.attention.query_norm.weight": f"{attention}.q_norm.weight",
            "blocks.{}.attention.key_norm.weight": f"{attention}.k_norm.weight",
            "blocks.{}.expert_norm.weight": "model.layers.{}.post_attention_layernorm.weight",
            "blocks.{}.experts.router.weight": f"{mlp}.gate.weight",
            "blocks.{}.experts.gate_up.weight": OfExperts(
                count, (f"{mlp}.experts.{{}}.gate_proj.weight", f"{mlp}.experts.{{}}.up_proj.weight")
            ),
            "blocks.{}.experts.down.weight": OfExperts(count, (f"{mlp}.experts.{{}}.down_proj.weight",)),
        }
        for kind in ("weight", "bias") if self.shape.attention_bias else ("weight",):
            per_layer[f"blocks.{{}}.attention.qkv.{kind}"] = tuple(
                f"{attention}.{p}_proj.{kind}" for p in "qkv"
            )
            per_layer[f"blocks.{{}}.attention.output.{kind}"] = f"{attention}.o_proj.{kind}"
        return weight_map(outside, per_layer, self.shape.layers, ignored=(r"lm_head\.weight",))
