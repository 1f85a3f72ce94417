"""Projections and embeddings: parameters in the checkpoint's layout, computed by ops."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quire.model import ops
from quire.model.layers.layer import Layer


class Linear(Layer):
    """y = x Wᵀ + b with weight (out_features, in_features). Several projections of the same input may be
    stacked along out_features; `split` cuts the result again."""

    def __init__(self, in_features: int, out_features: int | tuple[int, ...], *, bias: bool = False) -> None:
        super().__init__()
        self.parts = list(out_features) if isinstance(out_features, tuple) else [out_features]
        self.weight = nn.Parameter(torch.empty(sum(self.parts), in_features), requires_grad=False)
        self.bias = nn.Parameter(torch.empty(sum(self.parts)), requires_grad=False) if bias else None

    def forward(self, x_TK: Tensor) -> Tensor:
        return ops.linear(x_TK, self.weight, self.bias)

    def split(self, x_TK: Tensor) -> tuple[Tensor, ...]:
        """The results of the stacked projections, one tensor each."""
        return torch.split(self(x_TK), self.parts, dim=-1)


class Embedding(Layer):
    """Rows of a table (num_rows, width), picked by index. `as_head` uses the table as output projection."""

    def __init__(self, num_rows: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_rows, width), requires_grad=False)

    def forward(self, index_T: Tensor) -> Tensor:
        return F.embedding(index_T, self.weight)

    def as_head(self, hidden_RD: Tensor) -> Tensor:
        return ops.linear(hidden_RD, self.weight)
