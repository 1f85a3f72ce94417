"""What the KV cache holds its numbers in, and what a token takes there."""

from __future__ import annotations

from typing import NamedTuple

from quire.base.config.asked import Asked
from quire.base.config.card import ModelCard
from quire.base.config.resolved import DTYPE_BYTES, Dtype, KvDtype
from quire.base.errors import ConfigError

_EIGHT_BITS = ("int8", "float8_e4m3fn", "float8_e5m2")
SCALE_BYTES = 4  # float32, one for each token and head


class KvFormat(NamedTuple):
    """`dtype` of every number; with `has_scales` each head of each token has a scale of its own beside it."""

    dtype: KvDtype
    has_scales: bool = False

    def head_bytes(self, head_dim: int) -> int:
        number_bytes = 1 if self.dtype in _EIGHT_BITS else DTYPE_BYTES[self.dtype]
        return head_dim * number_bytes + (SCALE_BYTES if self.has_scales else 0)


_FORMATS = {
    "float32": KvFormat("float32"),
    "bfloat16": KvFormat("bfloat16"),
    "float16": KvFormat("float16"),
    "fp8": KvFormat("float8_e4m3fn"),
    "fp8_e4m3": KvFormat("float8_e4m3fn"),
    "fp8_e5m2": KvFormat("float8_e5m2"),
    "fp8_per_token_head": KvFormat("float8_e4m3fn", has_scales=True),
    "int8_per_token_head": KvFormat("int8", has_scales=True),
}


class KvPlan(NamedTuple):
    """The cache's format, and the layers that keep the network's own dtype all the same."""

    format: KvFormat
    own: KvFormat
    own_layers: list[int]

    def bytes_per_token(self, card: ModelCard) -> int:
        """Bytes one token's keys and values take over all layers."""
        formats = [self.own if layer in self.own_layers else self.format for layer in range(card.num_layers)]
        return sum(
            2 * heads * form.head_bytes(card.head_dim)
            for heads, form in zip(card.kv_heads, formats, strict=True)
        )


def choose_kv_format(asked: Asked, card: ModelCard, dtype: Dtype) -> KvPlan:
    """Raises ConfigError for layers to skip that the model lacks or that are not named by number."""
    own = KvFormat(dtype)
    return KvPlan(_FORMATS.get(asked["kv_cache_dtype"], own), own, _own_layers(asked, card))


def _own_layers(asked: Asked, card: ModelCard) -> list[int]:
    names: list[str] = asked["kv_cache_dtype_skip_layers"]
    for name in names:
        if not name.isdecimal() or int(name) >= card.num_layers:
            raise ConfigError(
                f"--kv-cache-dtype-skip-layers {name}: give numbers of layers, 0 to {card.num_layers - 1} for "
                f"{card.name}; kinds of attention are not understood",
                setting="kv_cache_dtype_skip_layers",
            )
    return sorted({int(name) for name in names})
