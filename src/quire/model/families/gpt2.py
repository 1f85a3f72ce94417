"""GPT-2: learned positions, layer norms, biases everywhere, a plain MLP. Its projections are stored (in, out)."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What the card says, in this file's words."""

    hidden: int
    mlp: int
    layers: int
    heads: int
    vocab: int
    positions: int
    eps: float
    activation: str
    scale_by_layer: bool
    tied: bool

    @property
    def head_dim(self) -> int:
        return self.hidden // self.heads


def read(keys: ConfigKeys, layers: int) -> Shape:
    hidden = keys.whole("n_embd")
    keys.choice("scale_attn_weights", (True,), True)
    shape = Shape(
        hidden=hidden,
        mlp=keys.whole("n_inner", 4 * hidden),
        layers=layers,
        heads=keys.whole("n_head"),
        vocab=keys.whole("vocab_size"),
        positions=keys.whole("n_positions"),
        eps=keys.number("layer_norm_epsilon", 1e-5),
        activation=keys.choice(
            "activation_function", ("gelu_new", "gelu", "gelu_pytorch_tanh", "relu"), "gelu_new"
        ),
        scale_by_layer=keys.flag("scale_attn_by_inverse_layer_idx", False),
        tied=keys.flag("tie_word_embeddings", True),
    )
    keys.refuse_rest("reorder_and_upcast_attn")  # about overflow in float16; scores are float32 here
    return shape


class GPT2Attention(Layer):
    def __init__(self, shape: Shape, layer: int) -> None:
        super().__init__()
        self.head_dim = shape.head_dim
        self.qkv = Linear(shape.hidden, (shape.hidden,) * 3, bias=True)
        self.output = Linear(shape.hidden, shape.hidden, bias=True)
        self.attention = Attention(
            layer=layer,
            scale=shape.head_dim**-0.5 / (layer + 1 if shape.scale_by_layer else 1),
        )

    def forward(self, x_TD: Tensor, step: StepInput) -> Tensor:
        query, key, value = (part.view(len(x_TD), -1, self.head_dim) for part in self.qkv.split(x_TD))
        return self.output(self.attention(query, key, value, step))


class GPT2MLP(Layer):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.kind = shape.activation
        self.up = Linear(shape.hidden, shape.mlp, bias=True)
        self.down = Linear(shape.mlp, shape.hidden, bias=True)

    def forward(self, x_TD: Tensor) -> Tensor:
        return self.down(ops.activation(self.up(x_TD), self.kind))


class GPT2Block(Layer):
    def __init__(self, shape: Shape, layer: int) -> None:
        super().__init__()
        self.attention_norm = LayerNorm(shape.hidden, shape.eps)
        self.attention = GPT2Attention(shape, layer)
        self.mlp_norm = LayerNorm(shape.hidden, shape.eps)
        self.mlp = GPT2MLP(shape)

    def forward(self, x_TD: Tensor, step: StepInput) -> Tensor:
        x_TD = x_TD + self.attention(self.attention_norm(x_TD), step)
        return x_TD + self.mlp(self.mlp_norm(x_TD))


class GPT2(CausalLM):
    def __init__(self, config: EngineConfig, keys: ConfigKeys) -> None:
        super().__init__()
        shape = self.shape = read(keys, config.card.num_layers)
        if config.max_model_len > shape.positions:
            raise CheckpointError(
                f"max_model_len {config.max_model_len} is more than the {shape.positions} positions "
                f"this model learned."
            )
        self.embedding = Embedding(shape.vocab, shape.hidden)
        self.positions = Embedding(shape.positions, shape.hidden)
        self.blocks = nn.ModuleList(GPT2Block(shape, layer) for layer in range(shape.layers))
        self.norm = LayerNorm(shape.hidden, shape.eps)
        self.head: Callable[..., Tensor] = (
            self.embedding.as_head if shape.tied else Linear(shape.hidden, shape.vocab)
        )
        self.cache_shapes = [LayerCache(shape.heads, shape.head_dim)] * shape.layers

    def forward(self, step: StepInput) -> Tensor:
        x_TD = self.embedding(step.token_ids_T) + self.positions(step.positions_T)
        for block in self.blocks:
            x_TD = block(x_TD, step)
        return self.norm(x_TD)

    def logits(self, hidden_RD: Tensor) -> Tensor:
        return self.head(hidden_RD, float32)

    def weights(self) -> WeightMap:
        outside = {
            "embedding.weight": "wte.weight",
            "positions.weight": "wpe.weight",
            "norm.weight": "ln_f.weight",
            "norm.bias": "ln_f.bias",
        }
        if not self.shape.tied:
            outside["head.weight"] = "lm_head.weight"
        parts = {
            "attention_norm": "ln_1",
            "attention.qkv": "attn.c_attn",
            "attention.output": "attn.c_proj",
            "mlp_norm": "ln_2",
            "mlp.up": "mlp.c_fc",
            "mlp.down": "mlp.c_proj",
        }
        per_layer: Parts = {
            f"blocks.{{}}.{ours}.{kind}": f"h.{{}}.{theirs}.{kind}"
            for ours, theirs in parts.items()
            for kind in ("weight", "bias")
        }
        projections = ("attention.qkv", "attention.output", "mlp.up", "mlp.down")
        return weight_map(
            outside,
            per_layer,
            self.shape.layers,
            transposed=tuple(f"blocks.{{}}.{name}.weight" for name in projections),
            ignored=(r"h\.\d+\.attn\.(masked_)?bias", r"lm_head\.weight"),
            renames=((r"^transformer\.", ""),),
        )
