"""Projections and embeddings, computed by ops.

Parameters are in the checkpoint's layout until `prepare` is called, after loading: then the op's provider has them
in its own, and the parameter is gone.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quire.model import ops
from quire.model.kernels import Prepared
from quire.model.layers.layer import Layer


class Linear(Layer):
    """y = x Wᵀ + b with weight (out_features, in_features). Several projections of the same input may be
    stacked along out_features; `split` cuts the result again."""

    def __init__(self, in_features: int, out_features: int | tuple[int, ...], *, bias: bool = False) -> None:
        super().__init__()
        self.parts = list(out_features) if isinstance(out_features, tuple) else [out_features]
        self.weight: Tensor | Prepared = nn.Parameter(
            torch.empty(sum(self.parts), in_features), requires_grad=False
        )
        self.bias = nn.Parameter(torch.empty(sum(self.parts)), requires_grad=False) if bias else None

    def forward(self, x_TK: Tensor) -> Tensor:
        return ops.linear(x_TK, self.weight, self.bias)

    def prepare(self) -> None:
        _prepare_weight(self)

    def split(self, x_TK: Tensor) -> tuple[Tensor, ...]:
        """The results of the stacked projections, one tensor each."""
        return torch.split(self(x_TK), self.parts, dim=-1)


class Embedding(Layer):
    """Rows of a table (num_rows, width), picked by index. `as_head` uses the table as output projection."""

    def __init__(self, num_rows: int, width: int) -> None:
        super().__init__()
        self.weight: Tensor | Prepared = nn.Parameter(torch.empty(num_rows, width), requires_grad=False)
        self._is_head = False

    def forward(self, index_T: Tensor) -> Tensor:
        if isinstance(self.weight, Prepared):
            return self.weight.rows(index_T)
        return F.embedding(index_T, self.weight)

    @property
    def as_head(self) -> Callable[[Tensor], Tensor]:
        """The projection on the table's rows. A table that was asked for it is prepared for it."""
        self._is_head = True
        return self._project

    def prepare(self) -> None:
        if self._is_head:
            _prepare_weight(self)

    def _project(self, hidden_RD: Tensor) -> Tensor:
        return ops.linear(hidden_RD, self.weight)


def _prepare_weight(layer: Linear | Embedding) -> None:
    """Puts the provider's form of the weight in the parameter's place, so that one copy of it is held."""
    weight = layer.weight
    if isinstance(weight, Prepared):
        return
    prepared = ops.linear.prepare(weight)
    if isinstance(prepared, Prepared):
        del layer.weight
        layer.weight = prepared
