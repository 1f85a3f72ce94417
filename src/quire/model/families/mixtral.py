"""Mixtral: Mistral with experts in place of the MLP, of which a router picks a few for each token."""

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
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    eps: float
    activation: str
    rope: dict[str, Any]
    window: int
    tied: bool


def read(keys: ConfigKeys, layers: int) -> Shape:
    heads = keys.whole("num_attention_heads")
    hidden = keys.whole("hidden_size")
    experts = keys.experts()
    shape = Shape(
        hidden=hidden,
        expert=keys.whole("intermediate_size"),
        experts=experts,
        chosen=keys.whole("num_experts_per_tok", least=1, most=experts),
        layers=layers,
        heads=heads,
        kv_heads=keys.whole("num_key_value_heads", heads),
        head_dim=keys.whole("head_dim", hidden // heads),
        vocab=keys.whole("vocab_size"),
        eps=keys.number("rms_norm_eps"),
        activation=keys.choice("hidden_act", ("silu",), "silu"),
        rope=keys.rope(),
        window=keys.whole("sliding_window", 0),
        tied=keys.flag("tie_word_embeddings", False),
    )
    keys.refuse_rest("router_aux_loss_coef", "router_jitter_noise")
    return shape


class MixtralAttention(Layer):
    def __init__(self, shape: Shape, layer: int) -> None:
        super().__init__()
        self.head_dim = shape.head_dim
        query, key = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        self.qkv = Linear(shape.hidden, (query, key, key))
        self.output = Linear(query, shape.hidden)
        self.attention = Attention(
            layer=layer,
            scale=shape.head_dim**-0.5,
            window=shape.window,
        )

    def forward(self, x_TD: Tensor, angles: Angles, step: StepInput) -> Tensor:
        query, key, value = (part.view(len(x_TD), -1, self.head_dim) for part in self.qkv.split(x_TD))
        seen = self.attention(query, key, value, step, angles)
        return self.output(seen)


class MixtralBlock(Layer):
    def __init__(self, shape: Shape, layer: int) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(shape.hidden, shape.eps)
        self.attention = MixtralAttention(shape, layer)
        self.expert_norm = RMSNorm(shape.hidden, shape.eps)
        self.experts = Experts(
            shape.hidden,
            shape.expert,
            count=shape.experts,
            chosen=shape.chosen,
            activation=shape.activation,
            renormalises=True,
        )

    def forward(self, x_TD: Tensor, angles: Angles, step: StepInput) -> Tensor:
        x_TD = ops.add(x_TD, self.attention(self.attention_norm(x_TD), angles, step))
        return ops.add(x_TD, self.experts(self.expert_norm(x_TD)))


class Mixtral(CausalLM):
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
        self.blocks = nn.ModuleList(MixtralBlock(shape, layer) for layer in range(shape.layers))
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
        attention, moe = "model.layers.{}.self_attn", "model.layers.{}.block_sparse_moe"
        count = self.shape.experts
        per_layer: Parts = {
            "blocks.{}.attention_norm.weight": "model.layers.{}.input_layernorm.weight",
            "blocks.{}.attention.qkv.weight": tuple(f"{attention}.{part}_proj.weight" for part in "qkv"),
            "blocks.{}.attention.output.weight": f"{attention}.o_proj.weight",
            "blocks.{}.expert_norm.weight": "model.layers.{}.post_attention_layernorm.weight",
            "blocks.{}.experts.router.weight": f"{moe}.gate.weight",
            "blocks.{}.experts.gate_up.weight": OfExperts(
                count, (f"{moe}.experts.{{}}.w1.weight", f"{moe}.experts.{{}}.w3.weight")
            ),
            "blocks.{}.experts.down.weight": OfExperts(count, (f"{moe}.experts.{{}}.w2.weight",)),
        }
        ignored = (r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq", r"lm_head\.weight")
        return weight_map(outside, per_layer, self.shape.layers, ignored=ignored)
