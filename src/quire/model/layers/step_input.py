"""What the network is given for one step. Built once per step by the runner, shared by all layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from quire.model.ops import AttentionBatch, LayerKV


class LayerCache(NamedTuple):
    """The cache one layer needs: `num_kv_heads` heads of `head_dim` numbers, for keys and again for values."""

    num_kv_heads: int
    head_dim: int


@dataclass(frozen=True, slots=True)
class StepInput:
    """The T tokens of a step, sequence after sequence.

    `token_ids_T`, `positions_T` and `slots_T` are int64; a slot is block_id · block_size + offset, the place
    where the token's key and value go. `caches` has one entry per layer.

    An encoder's step has whole sequences: `attention` has empty block tables and context lengths equal to those of
    the chunks, `slots_T` is not looked at, `caches` is empty. `token_type_ids_T` (int64) is 1 for the tokens of a
    pair's second text, its closing separator included, and 0 for the others; None where all are 0.
    """

    token_ids_T: Tensor
    positions_T: Tensor
    slots_T: Tensor
    attention: AttentionBatch
    caches: list[LayerKV]
    token_type_ids_T: Tensor | None = None
