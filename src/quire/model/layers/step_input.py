"""What the network is given for one step. Built once per step by the runner, shared by all layers."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from quire.model.ops import AttentionBatch, LayerKV


class LayerCache(NamedTuple):
    """The cache one layer needs: `num_kv_heads` heads of `head_dim` numbers, for keys and again for values."""

    num_kv_heads: int
    head_dim: int


@dataclass(frozen=True, slots=True)
class StepInput:
    """The T tokens of a step, sequence after sequence.

    Arrays are of int64 ("q"), and so are the tensors over their memory that a network reads: a recording, which needs
    the numbers only, makes none. A slot is block_id · block_size + offset, the place where the token's key and value
    go. `caches` has one entry per layer.

    An encoder's step has whole sequences: `attention` has empty block tables and context lengths equal to those of
    the chunks, `slots` is not looked at, `caches` is empty. `token_type_ids` is 1 for the tokens of a pair's second
    text, its closing separator included, and 0 for the others; None where all are 0.
    """

    token_ids: array[int]
    positions: array[int]
    slots: array[int]
    attention: AttentionBatch
    caches: list[LayerKV]
    token_type_ids: array[int] | None = None

    @property
    def token_ids_T(self) -> Tensor:
        return _tensor(self.token_ids)

    @property
    def positions_T(self) -> Tensor:
        return _tensor(self.positions)

    @property
    def slots_T(self) -> Tensor:
        return _tensor(self.slots)

    @property
    def token_type_ids_T(self) -> Tensor | None:
        return None if self.token_type_ids is None else _tensor(self.token_type_ids)


def _tensor(numbers: array[int]) -> Tensor:
    return torch.frombuffer(numbers, dtype=torch.int64)
