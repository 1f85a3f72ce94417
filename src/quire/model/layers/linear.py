"""Projections and embeddings, computed by ops.

Parameters are in the checkpoint's layout until `prepare` is called, after loading: then the op's provider has them
in its own, and the parameter is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from quire.model import ops
from quire.model.kernels import Prepared
from quire.model.layers.layer import Layer


@dataclass(frozen=True)
class Scheme:
    """How weights are held and multiplied: an op, and the form it is to give the weight."""

    op: ops.Op[[Tensor, Tensor | Prepared, Tensor | None, torch.dtype | None], Tensor]
    form: dict[str, Any] = field(default_factory=dict)

    def prepare(self, weight: Tensor) -> Tensor | Prepared:
        """A weight (N, K), or those of experts (E, N, K), as it is computed in."""
        if weight.dim() == 3:
            return self.prepare_each(weight, weight)
        return self.op.prepare(weight, **self.form)

    def prepare_each(self, weight: Tensor, experts: Iterable[Tensor]) -> Tensor | Prepared:
        """The weights of `experts`, (N, K) each; of `weight`, (E, N, K), only shape and dtype matter."""
        return ops.grouped_linear.prepare(weight, experts=experts, linear=self.op.name, **self.form)


# by EngineConfig.quantization; "" is the checkpoint's own precision
SCHEMES = {"": Scheme(ops.linear), "int8": Scheme(ops.linear_int8)} | {
    name: Scheme(ops.linear_int4, {"group_size": size, "rounds_inputs": rounds_inputs})
    for size in (32, 64, 128)
    for name, rounds_inputs in ((f"int4-{size}", True), (f"int4-{size}-exact", False))
}


class Linear(Layer):
    """y = x Wᵀ + b with weight (out_features, in_features). Several projections of the same input may be
    stacked along out_features; `split` cuts the result again. With `keeps_type` the weight is in the network's type
    under every scheme."""

    def __init__(
        self,
        in_features: int,
        out_features: int | tuple[int, ...],
        *,
        bias: bool = False,
        keeps_type: bool = False,
    ) -> None:
        super().__init__()
        self.parts = list(out_features) if isinstance(out_features, tuple) else [out_features]
        self.weight: Tensor | Prepared = nn.Parameter(
            torch.empty(sum(self.parts), in_features), requires_grad=False
        )
        self.bias = nn.Parameter(torch.empty(sum(self.parts)), requires_grad=False) if bias else None
        self.keeps_type = keeps_type
        self.scheme = ""

    def forward(self, x_TK: Tensor, out_dtype: torch.dtype | None = None) -> Tensor:
        """In the inputs' type, or in float32 where `out_dtype` says so."""
        return SCHEMES[self.scheme].op(x_TK, self.weight, self.bias, out_dtype)

    def prepare(self, scheme: str) -> None:
        """Gives the loaded weight the form it is computed in; `scheme` is a key of SCHEMES."""
        _prepare_weight(self, scheme)

    def split(self, x_TK: Tensor) -> tuple[Tensor, ...]:
        """The results of the stacked projections, one tensor each."""
        return torch.split(self(x_TK), self.parts, dim=-1)


class GroupedLinear(Layer):
    """A projection for each of `num_experts`, without biases: weight (num_experts, out_features, in_features)."""

    def __init__(self, num_experts: int, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight: Tensor | Prepared = nn.Parameter(
            torch.empty(num_experts, out_features, in_features), requires_grad=False
        )
        self.keeps_type = False
        self.scheme = ""

    def forward(self, x_MK: Tensor, experts_TC: Tensor) -> Tensor:
        """(T · C, out_features): a row for each expert that a token chose; x has a row for each token or for each of
        these."""
        return ops.grouped_linear(x_MK, experts_TC, self.weight)

    def prepare(self, scheme: str) -> None:
        """As Linear's."""
        _prepare_weight(self, scheme)

    def prepare_each(self, experts: Iterable[Tensor], dtype: torch.dtype, scheme: str) -> None:
        """As `prepare`, with weights that are loaded one by one, in `dtype`."""
        unfilled = torch.empty(self.weight.shape, dtype=dtype, device="meta")
        weight = SCHEMES[scheme].prepare_each(unfilled, experts)
        if isinstance(weight, Prepared):
            hold_prepared(self, weight, scheme)
        else:
            self.weight = nn.Parameter(weight, requires_grad=False)


class Embedding(Layer):
    """Rows of a table (num_rows, width), picked by index counted from row `first`. `as_head` uses the table as output
    projection; within `given` some places have rows of the caller's own."""

    def __init__(self, num_rows: int, width: int, *, first: int = 0) -> None:
        super().__init__()
        self.first = first
        self.weight: Tensor | Prepared = nn.Parameter(torch.empty(num_rows, width), requires_grad=False)
        self.keeps_type = False
        self.scheme = ""
        self.is_head = False
        self._given: tuple[Tensor, Tensor] | None = None

    def forward(self, index_T: Tensor) -> Tensor:
        if isinstance(self.weight, Prepared):
            rows_TD = self.weight.rows(index_T)
        else:
            rows_TD = ops.embedding(self.weight, index_T, self.first)
        if self._given is None:
            return rows_TD
        places_R, given_RD = self._given
        return rows_TD.index_copy(0, places_R, given_RD.to(rows_TD.dtype))

    @contextmanager
    def given(self, places_R: Tensor, given_RD: Tensor) -> Iterator[None]:
        """Within the block the rows of these places (int64) are what is given, whatever the indices say."""
        self._given = places_R, given_RD
        try:
            yield
        finally:
            self._given = None

    @property
    def as_head(self) -> Callable[..., Tensor]:
        """The projection on the table's rows. A table that was asked for it is prepared for it."""
        assert not self.first, "the head has all rows"
        self.is_head = True
        return self._project

    def prepare(self, scheme: str) -> None:
        """As Linear's; a table that is no head stays as it is."""
        if self.is_head:
            _prepare_weight(self, scheme)

    def _project(self, hidden_RD: Tensor, out_dtype: torch.dtype | None = None) -> Tensor:
        return SCHEMES[self.scheme].op(hidden_RD, self.weight, None, out_dtype)


Weighted = Linear | GroupedLinear | Embedding  # layers whose weight is prepared


def _prepare_weight(layer: Weighted, scheme: str) -> None:
    """Puts the provider's form of the weight in the parameter's place, so that one copy of it is held."""
    weight = layer.weight
    assert isinstance(weight, Tensor), "a weight is prepared once"
    layer.scheme = "" if layer.keeps_type else scheme
    prepared = SCHEMES[layer.scheme].prepare(weight)
    if isinstance(prepared, Prepared):
        hold_prepared(layer, prepared, scheme)


def hold_prepared(layer: Weighted, prepared: Prepared, scheme: str) -> None:
    """`prepared`, made under `scheme`, takes the place of the layer's parameter."""
    layer.scheme = "" if layer.keeps_type else scheme
    del layer.weight
    layer.weight = prepared
