"""grouped_linear: each row times the weight of the expert that it chose, a linear of its own for every expert.

A row has the bits that linear, linear_int8 or linear_int4 give it with that expert's weight, whatever else is in the
call: neither the other rows nor how many of them chose the same expert matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Self

import torch
from torch import Tensor

from quire.model.kernels import Prepared
from quire.model.ops.contract import Case, Op
from quire.model.ops.linear import linear
from quire.model.ops.linear_int4 import linear_int4
from quire.model.ops.linear_int8 import linear_int8

LINEARS = {op.name: op for op in (linear, linear_int8, linear_int4)}


class ExpertWeights(Prepared):
    """Weights (E, N, K), each expert's in the form that the reference of `linear`, a name in LINEARS, keeps."""

    def __init__(
        self, weight_ENK: Tensor, linear: str, experts: Iterable[Tensor] | None = None, **form: Any
    ) -> None:
        self.shape, self.dtype, self.linear = weight_ENK.shape, weight_ENK.dtype, linear
        each = weight_ENK if experts is None else experts
        self.experts = [self._prepared(weight_NK.detach(), **form) for weight_NK in each]

    def _prepared(self, weight_NK: Tensor, **form: Any) -> Prepared:
        prepared = LINEARS[self.linear].prepare_reference(weight_NK, **form)
        assert isinstance(prepared, Prepared), f"the reference of {self.linear} keeps weights as they are"
        return prepared

    def tensors(self) -> dict[str, Tensor]:
        each = [expert.tensors() for expert in self.experts]
        kind = torch.tensor(list(LINEARS).index(self.linear))
        return {"linear": kind} | {name: torch.stack([part[name] for part in each]) for name in each[0]}

    @classmethod
    def restore(cls, shape: torch.Size, dtype: torch.dtype, tensors: dict[str, Tensor]) -> Self:
        weight = cls.__new__(cls)
        weight.shape, weight.dtype = shape, dtype
        weight.linear = list(LINEARS)[int(tensors["linear"])]
        kind = type(weight._prepared(torch.zeros(1, 1)))
        names = [name for name in tensors if name != "linear"]
        weight.experts = [
            kind.restore(shape[1:], dtype, {name: tensors[name][index] for name in names})
            for index in range(shape[0])
        ]
        return weight

    def rows(self, index_T: Tensor) -> Tensor:
        """Whole experts (len(index), N, K)."""
        every_row = torch.arange(self.shape[1])
        return torch.stack([self.experts[index].rows(every_row) for index in index_T.tolist()])


def prepare_reference(
    weight_ENK: Tensor, linear: str = "linear", experts: Iterable[Tensor] | None = None, **form: Any
) -> Tensor | Prepared:
    """`linear` names the op whose arithmetic each expert has, `form` what its `prepare` lets choose. With `experts`
    their weights (N, K) come one by one, and `weight_ENK` only says their shape and dtype."""
    if linear != "linear":
        return ExpertWeights(weight_ENK, linear, experts, **form)
    return weight_ENK if experts is None or experts is weight_ENK else torch.stack(list(experts))


def reference(x_MK: Tensor, experts_TC: Tensor, weight_ENK: Tensor | Prepared) -> Tensor:
    """x (M, K), experts (T, C) in int64 below E → (T · C, N) in the inputs' dtype, the rows of a token side by side.

    M is T, when all experts of a token read its row, or T · C, when each choice has a row of its own.
    """
    if isinstance(weight_ENK, Tensor):
        multiply, weights = linear.reference, list(weight_ENK)
    else:
        assert isinstance(weight_ENK, ExpertWeights), "this weight was prepared for another provider"
        multiply, weights = LINEARS[weight_ENK.linear].reference, weight_ENK.experts
    experts_R = experts_TC.flatten()
    x_RK = x_MK.repeat_interleave(len(experts_R) // max(len(x_MK), 1), 0)
    out_RN = torch.empty((len(experts_R), weight_ENK.shape[1]), dtype=x_MK.dtype, device=x_MK.device)
    for expert in sorted(set(experts_R.tolist())):
        chose_R = experts_R == expert
        out_RN[chose_R] = multiply(x_RK[chose_R], weights[expert])
    return out_RN


def cases(seed: int, dtype: torch.dtype) -> Iterator[Case]:
    generator = torch.Generator().manual_seed(seed)
    for tokens, count, num_experts, inner, outer in (
        (1, 2, 4, 64, 48),
        (7, 3, 5, 33, 17),
        (64, 2, 8, 128, 96),
    ):
        scores = torch.rand(tokens, num_experts, generator=generator)
        rows = tokens * count if tokens == 7 else tokens
        yield {
            "x_MK": torch.randn(rows, inner, generator=generator).to(dtype),
            "experts_TC": scores.topk(count).indices,
            "weight_ENK": (torch.randn(num_experts, outer, inner, generator=generator) * inner**-0.5).to(
                dtype
            ),
        }


grouped_linear = Op("grouped_linear", reference, cases, prepare_reference=prepare_reference)
