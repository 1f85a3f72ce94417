"""OPT: learned positions (two places are kept free), ReLU MLP, biases; the 350M release normalises after each half
and has narrower embeddings with a projection in and out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, float32, nn

from quire.base.config import EngineConfig
from quire.base.errors import CheckpointError
from quire.model import ops
from quire.model.checkpoint import ConfigKeys
from quire.model.layers import Attention, CausalLM, Embedding, Layer, LayerCache, LayerNorm, Linear, StepInput
from quire.model.weight_map import Parts, WeightMap, weight_map

POSITION_OFFSET = 2  # rows 0 and 1 of the position table belonged to padding
NORM_EPS = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What the card says, in this file's words."""

    hidden: int
    embedding: int
    mlp: int
    layers: int
    heads: int
    vocab: int
    positions: int
    activation: str
    norm_first: bool
    final_norm: bool
    tied: bool

    @property
    def head_dim(self) -> int:
        return self.hidden // self.heads


def read(keys: ConfigKeys, layers: int) -> Shape:
    hidden = keys.whole("hidden_size")
    norm_first = keys.flag("do_layer_norm_before", True)
    keys.choice("enable_bias", (True,), True)
    keys.choice("layer_norm_elementwise_affine", (True,), True)
    shape = Shape(
        hidden=hidden,
        embedding=keys.whole("word_embed_proj_dim", hidden),
        mlp=keys.whole("ffn_dim"),
        layers=layers,
        heads=keys.whole("num_attention_heads"),
        vocab=keys.whole("vocab_size"),
        positions=keys.whole("max_position_embeddings"),
        activation=keys.choice("activation_function", ("relu", "gelu"), "relu"),
        norm_first=norm_first,
        final_norm=norm_first and not keys.flag("_remove_final_layer_norm", False),
        tied=keys.flag("tie_word_embeddings", True),
    )
    keys.refuse_rest()
    return shape


class OPTAttention(Layer):
    def __init__(self, shape: Shape, layer: int) -> None:
        super().__init__()
        self.head_dim = shape.head_dim
        self.qkv = Linear(shape.hidden, (shape.hidden,) * 3, bias=True)
        self.output = Linear(shape.hidden, shape.hidden, bias=True)
        self.attention = Attention(
            layer=layer,
            scale=shape.head_dim**-0.5,
        )

    def forward(self, x_TD: Tensor, step: StepInput) -> Tensor:
        query, key, value = (part.view(len(x_TD), -1, self.head_dim) for part in self.qkv.split(x_TD))
        return self.output(self.attention(query, key, value, step))


class OPTMLP(Layer):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.kind = shape.activation
        self.up = Linear(shape.hidden, shape.mlp, bias=True)
        self.down = Linear(shape.mlp, shape.hidden, bias=True)

    def forward(self, x_TD: Tensor) -> Tensor:
        return self.down(ops.activation(self.up(x_TD), self.kind))


class OPTBlock(Layer):
    def __init__(self, shape: Shape, layer: int) -> None:
        super().__init__()
        self.norm_first = shape.norm_first
        self.attention_norm = LayerNorm(shape.hidden, NORM_EPS)
        self.attention = OPTAttention(shape, layer)
        self.mlp_norm = LayerNorm(shape.hidden, NORM_EPS)
        self.mlp = OPTMLP(shape)

    def forward(self, x_TD: Tensor, step: StepInput) -> Tensor:
        if self.norm_first:
            x_TD = x_TD + self.attention(self.attention_norm(x_TD), step)
            return x_TD + self.mlp(self.mlp_norm(x_TD))
        x_TD = self.attention_norm(x_TD + self.attention(x_TD, step))
        return self.mlp_norm(x_TD + self.mlp(x_TD))


class OPT(CausalLM):
    def __init__(self, config: EngineConfig, keys: ConfigKeys) -> None:
        super().__init__()
        shape = self.shape = read(keys, config.card.num_layers)
        if config.max_model_len > shape.positions:
            raise CheckpointError(
                f"max_model_len {config.max_model_len} is more than the {shape.positions} positions "
                f"this model learned."
            )
        narrow = shape.embedding != shape.hidden
        self.embedding = Embedding(shape.vocab, shape.embedding)
        self.project_in = Linear(shape.embedding, shape.hidden) if narrow else nn.Identity()
        self.positions = Embedding(shape.positions + POSITION_OFFSET, shape.hidden)
        self.blocks = nn.ModuleList(OPTBlock(shape, layer) for layer in range(shape.layers))
        self.norm = LayerNorm(shape.hidden, NORM_EPS) if shape.final_norm else nn.Identity()
        self.project_out = Linear(shape.hidden, shape.embedding) if narrow else nn.Identity()
        self.head: Callable[..., Tensor] = (
            self.embedding.as_head if shape.tied else Linear(shape.embedding, shape.vocab)
        )
        self.cache_shapes = [LayerCache(shape.heads, shape.head_dim)] * shape.layers

    def forward(self, step: StepInput) -> Tensor:
        x_TD = self.project_in(self.embedding(step.token_ids_T))
        x_TD = x_TD + self.positions(step.positions_T + POSITION_OFFSET)
        for block in self.blocks:
            x_TD = block(x_TD, step)
        return self.norm(x_TD)

    def logits(self, hidden_RD: Tensor) -> Tensor:
        return self.head(self.project_out(hidden_RD), float32)

    def weights(self) -> WeightMap:
        outside = {
            "embedding.weight": "decoder.embed_tokens.weight",
            "positions.weight": "decoder.embed_positions.weight",
        }
        if self.shape.final_norm:
            outside["norm.weight"] = "decoder.final_layer_norm.weight"
            outside["norm.bias"] = "decoder.final_layer_norm.bias"
        if self.shape.embedding != self.shape.hidden:
            outside["project_in.weight"] = "decoder.project_in.weight"
            outside["project_out.weight"] = "decoder.project_out.weight"
        if not self.shape.tied:
            outside["head.weight"] = "lm_head.weight"
        layer = "decoder.layers.{}"
        per_layer: Parts = {}
        for kind in ("weight", "bias"):
            stacked = tuple(f"{layer}.self_attn.{part}_proj.{kind}" for part in "qkv")
            per_layer[f"blocks.{{}}.attention_norm.{kind}"] = f"{layer}.self_attn_layer_norm.{kind}"
            per_layer[f"blocks.{{}}.attention.qkv.{kind}"] = stacked
            per_layer[f"blocks.{{}}.attention.output.{kind}"] = f"{layer}.self_attn.out_proj.{kind}"
            per_layer[f"blocks.{{}}.mlp_norm.{kind}"] = f"{layer}.final_layer_norm.{kind}"
            per_layer[f"blocks.{{}}.mlp.up.{kind}"] = f"{layer}.fc1.{kind}"
            per_layer[f"blocks.{{}}.mlp.down.{kind}"] = f"{layer}.fc2.{kind}"
        renames = ((r"^model\.", ""),)
        return weight_map(
            outside, per_layer, self.shape.layers, ignored=(r"lm_head\.weight",), renames=renames
        )
