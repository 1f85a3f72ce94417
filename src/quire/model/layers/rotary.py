"""Rotary position embedding and the ways checkpoints stretch it over longer contexts.

`rope` is the checkpoint's own dictionary, old style (`rope_scaling`, with `type`) or new (`rope_parameters`,
with `rope_type`); formulas follow the papers (linear: Chen 2023, YaRN: Peng 2023, LongRoPE: Ding 2024) and
Meta's Llama 3.1 release.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from quire.base.errors import CheckpointError
from quire.model import ops


@dataclass(frozen=True, slots=True)
class Angles:
    """Cosines and sines of a step's positions, (T, R/2) each."""

    cos: Tensor
    sin: Tensor


class Rotary:
    """Turns positions into angles for heads of `head_dim`, whose first R numbers are turned (all as a rule).

    `rope` holds `rope_theta`, the base, perhaps `partial_rotary_factor` and the stretch. `trained_len` is the
    checkpoint's max_position_embeddings, `served_len` the longest context of this server.
    """

    def __init__(self, head_dim: int, rope: dict[str, Any], *, trained_len: int, served_len: int) -> None:
        kind, base = rope_kind(rope), float(rope["rope_theta"])
        rotary_dim = int(head_dim * (rope.get("partial_rotary_factor") or 1.0))
        exponents = torch.arange(0, rotary_dim, 2, dtype=torch.float32, device="cpu") / rotary_dim
        plain = _Plain(1.0 / base**exponents, rotary_dim, base, trained_len, served_len)
        if kind not in _KINDS:
            raise CheckpointError(
                f"config.json asks for rope type {kind!r}; understood are {', '.join(_KINDS)}."
            )
        unknown = [key for key in rope if key not in _KEYS]
        if unknown:
            raise CheckpointError(
                f"config.json: rope key {unknown[0]} = {rope[unknown[0]]!r} is not understood."
            )
        try:
            self.frequencies_R, self.magnitude = _KINDS[kind](plain, rope)
        except KeyError as missing:
            raise CheckpointError(f"config.json: rope type {kind!r} needs the key {missing}.") from None

    def __call__(self, positions_T: Tensor, dtype: torch.dtype) -> Angles:
        """Computed in float32, handed out in `dtype`, that of the heads to be turned."""
        return Angles(*ops.angles(positions_T, self.frequencies_R, self.magnitude, dtype))


def rope_kind(rope: dict[str, Any]) -> str:
    """The rope type's name; older files call the key `type`, and LongRoPE `su`."""
    kind = rope.get("rope_type") or rope.get("type") or "default"
    return "longrope" if kind == "su" else str(kind)


@dataclass(frozen=True, slots=True)
class _Plain:
    """Unstretched frequencies (R/2, float32) and the lengths a stretch may depend on."""

    frequencies: Tensor
    rotary_dim: int
    base: float
    trained_len: int
    served_len: int


def _default(plain: _Plain, rope: dict[str, Any]) -> tuple[Tensor, float]:
    return plain.frequencies, 1.0


def _linear(plain: _Plain, rope: dict[str, Any]) -> tuple[Tensor, float]:
    return plain.frequencies / rope["factor"], 1.0


def _ntk(plain: _Plain, rope: dict[str, Any]) -> tuple[Tensor, float]:
    """The fixed form: the base grows by the factor, and all waves by its share of one dimension."""
    factor = rope["factor"]
    exponents = torch.arange(0, plain.rotary_dim, 2, dtype=torch.float32, device="cpu") / plain.rotary_dim
    return 1.0 / (plain.base * factor) ** exponents / factor ** (2 / plain.rotary_dim), 1.0


def _dynamic(plain: _Plain, rope: dict[str, Any]) -> tuple[Tensor, float]:
    """Up to the trained length dynamic NTK changes nothing; past it the base follows the sequence's length,
    which would turn keys that are already in the cache."""
    if plain.served_len > plain.trained_len:
        raise CheckpointError(
            f"rope type 'dynamic' changes with the length of the text past {plain.trained_len} tokens, which a "
            f"cache of keys cannot follow; set max_model_len to at most {plain.trained_len}."
        )
    return plain.frequencies, 1.0


def _llama3(plain: _Plain, rope: dict[str, Any]) -> tuple[Tensor, float]:
    """Long waves are divided by `factor`, short ones kept, those between blended."""
    trained_len = rope["original_max_position_embeddings"]
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    turns = trained_len * plain.frequencies / (2 * math.pi)  # full turns within the trained length
    keep = ((turns - low) / (high - low)).clamp(0, 1)
    return plain.frequencies * (keep + (1 - keep) / rope["factor"]), 1.0


def _yarn(plain: _Plain, rope: dict[str, Any]) -> tuple[Tensor, float]:
    """Dimensions that turn more than `beta_fast` times in the trained length are kept, those that turn less
    than `beta_slow` times are divided by `factor`, with a ramp between; attention is sharpened a little."""
    trained_len = rope.get("original_max_position_embeddings") or plain.trained_len
    factor = rope["factor"]

    def dimension(turns: float) -> float:
        return plain.rotary_dim * math.log(trained_len / (turns * 2 * math.pi)) / (2 * math.log(plain.base))

    low, high = dimension(rope.get("beta_fast") or 32), dimension(rope.get("beta_slow") or 1)
    if rope.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, plain.rotary_dim - 1)
    place = torch.arange(plain.rotary_dim // 2, dtype=torch.float32, device="cpu")
    ramp = ((place - low) / max(high - low, 0.001)).clamp(0, 1)
    return plain.frequencies * ((1 - ramp) + ramp / factor), _yarn_magnitude(rope, factor)


def _yarn_magnitude(rope: dict[str, Any], factor: float) -> float:
    def sharpen(weight: float) -> float:
        return 0.1 * weight * math.log(factor) + 1.0 if factor > 1 else 1.0

    if rope.get("attention_factor") is not None:
        return float(rope["attention_factor"])
    if rope.get("mscale") and rope.get("mscale_all_dim"):
        return sharpen(rope["mscale"]) / sharpen(rope["mscale_all_dim"])
    return sharpen(1.0)


def _longrope(plain: _Plain, rope: dict[str, Any]) -> tuple[Tensor, float]:
    """One factor per frequency: the short list for servers within the trained length, else the long one. The
    choice is made once: changing it as a text grows would turn keys that are already in the cache."""
    trained_len = rope.get("original_max_position_embeddings") or plain.trained_len
    factors = rope["long_factor"] if plain.served_len > trained_len else rope["short_factor"]
    if len(factors) != plain.rotary_dim // 2:
        raise CheckpointError(
            f"config.json: longrope gives {len(factors)} factors for {plain.rotary_dim // 2} frequencies."
        )
    magnitude = rope.get("attention_factor")
    if magnitude is None:
        stretch = rope.get("factor") or plain.trained_len / trained_len
        magnitude = math.sqrt(1 + math.log(stretch) / math.log(trained_len)) if stretch > 1 else 1.0
    return plain.frequencies / torch.tensor(factors, dtype=torch.float32, device="cpu"), float(magnitude)


_KINDS = {
    "default": _default,
    "linear": _linear,
    "ntk": _ntk,
    "dynamic": _dynamic,
    "llama3": _llama3,
    "yarn": _yarn,
    "longrope": _longrope,
}
_KEYS = frozenset(
    [
        "attention_factor",
        "beta_fast",
        "beta_slow",
        "factor",
        "finetuned",
        "high_freq_factor",
        "long_factor",
        "low_freq_factor",
        "mscale",
        "mscale_all_dim",
        "original_max_position_embeddings",
        "partial_rotary_factor",
        "rope_theta",
        "rope_type",
        "short_factor",
        "truncate",
        "type",
    ]
)
