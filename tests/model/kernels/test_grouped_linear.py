"""Native grouped_linear: the bits of each expert's own linear for every row, whoever else is in the call."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from quire.model.kernels.cpu import linear, linear_int4, linear_int8, native
from quire.model.kernels.cpu.grouped_linear import PackedExperts, run
from quire.model.layers.linear import SCHEMES
from quire.model.ops import grouped_linear
from quire.model.ops.grouped_linear import ExpertWeights
from tests.model.kernels.test_linear import DTYPES

OWN = {"linear": linear.run, "linear_int8": linear_int8.run, "linear_int4": linear_int4.run}
SHAPES = [(1, 1), (17, 33), (33, 100), (320, 64)]  # the last cut into items of several panels
EXPERTS = 6


def packed(weight_ENK: Tensor, scheme: str) -> tuple[PackedExperts, Any]:
    """The experts' weights together, and their linear's own run."""
    name = SCHEMES[scheme].op.name
    return PackedExperts(weight_ENK, name, **SCHEMES[scheme].form), OWN[name]


def chosen(tokens: int, count: int) -> Tensor:
    """Most tokens choose the first experts, the last ones are chosen by nobody."""
    return (torch.rand(tokens, EXPERTS) * torch.tensor([9.0, 5, 2, 1, 0, 0])).topk(count).indices


@pytest.mark.parametrize("scheme", ["", "int8", "int4-32", "int4-64-exact"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_row_has_the_bits_of_its_experts_linear(
    instruction_set: str, dtype: torch.dtype, scheme: str, two_threads: None
) -> None:
    for outputs, inputs in SHAPES:
        torch.manual_seed(outputs)
        weight, own = packed(torch.randn(EXPERTS, outputs, inputs).to(dtype), scheme)
        for tokens, count in (
            (1, 3),
            (23, 2),
            (40, 1),
        ):  # up to more rows of one expert than two pairs of tiles
            experts = chosen(tokens, count)
            x = torch.randn(tokens, inputs).to(dtype)
            rows = torch.randn(tokens * count, inputs).to(dtype)
            want = [own(x[t : t + 1], weight.experts[e]) for t in range(tokens) for e in experts[t].tolist()]
            assert torch.equal(run(x, experts, weight), torch.cat(want)), (outputs, tokens)
            want = [own(rows[r : r + 1], weight.experts[e]) for r, e in enumerate(experts.flatten().tolist())]
            assert torch.equal(run(rows, experts, weight), torch.cat(want)), (outputs, tokens)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_all_rows_to_one_expert(instruction_set: str, dtype: torch.dtype, two_threads: None) -> None:
    """More rows than the tiles take at once, and rows that lie apart and would collide in the cache."""
    wide, weight = torch.randn(150, 1100).to(dtype), torch.randn(3, 300, 1024).to(dtype)
    together = PackedExperts(weight)
    x = wide[:, 6:1030]
    for expert in range(3):
        got = run(x, torch.full((150, 1), expert), together)
        assert torch.equal(got, linear.run(x, linear.PackedWeight(weight[expert])))
    assert torch.equal(
        run(x[:0], torch.empty((0, 2), dtype=torch.int64), together), torch.empty(0, 300).to(dtype)
    )


@pytest.mark.parametrize("scheme", ["int8", "int4-32", "int4-64-exact"])
def test_quantised_as_the_reference_has_it(instruction_set: str, scheme: str) -> None:
    weight, x, experts = torch.randn(EXPERTS, 40, 96), torch.randn(9, 96), chosen(9, 2)
    name, form = SCHEMES[scheme].op.name, SCHEMES[scheme].form
    together, reference = PackedExperts(weight, name, **form), ExpertWeights(weight, name, **form)
    got, want = run(x, experts, together), grouped_linear.reference(x, experts, reference)
    if scheme.endswith("exact"):
        torch.testing.assert_close(got, want)
    else:
        assert torch.equal(got, want)
    index = torch.tensor([5, 0])
    assert torch.equal(together.rows(index), reference.rows(index))


def test_not_a_number_stays_in_its_row(instruction_set: str) -> None:
    weight, x, experts = torch.randn(EXPERTS, 40, 64), torch.randn(12, 64), chosen(12, 2)
    together = PackedExperts(weight)
    clean = run(x, experts, together)
    x[3, 63] = torch.nan
    got = run(x, experts, together)
    assert got[6:8].isnan().all()
    assert torch.equal(got[:6], clean[:6])
    assert torch.equal(got[8:], clean[8:])


def test_what_does_not_fit_is_refused() -> None:
    together = PackedExperts(torch.randn(4, 6, 8))
    experts = torch.tensor([[0, 3]])
    with pytest.raises(TypeError, match=r"inputs \(1, 7\)"):
        run(torch.randn(1, 7), experts, together)
    with pytest.raises(TypeError, match=r"inputs \(3, 8\)"):
        run(torch.randn(3, 8), experts, together)
    with pytest.raises(TypeError, match="bfloat16"):
        run(torch.randn(1, 8).bfloat16(), experts, together)
    with pytest.raises(TypeError, match="int32"):
        run(torch.randn(1, 8), experts.int(), together)
    for wrong in (4, -1):
        with pytest.raises(IndexError, match="4 rows"):
            run(torch.randn(1, 8), torch.tensor([[0, wrong]]), together)


def test_experts_are_packed_one_by_one() -> None:
    if native.refusal():
        pytest.skip(native.refusal())
    weight, given = torch.randn(6, 40, 33), []

    def one_by_one() -> Iterator[Tensor]:
        for expert in weight:
            assert (
                sum(one() is not None for one in given) <= 2
            )  # the last one, and the one before in the loop's hands
            fresh = expert.clone()
            given.append(weakref.ref(fresh))
            yield fresh

    together = PackedExperts(torch.empty(6, 40, 33, device="meta"), experts=one_by_one())
    assert torch.equal(together.rows(torch.arange(6)), weight)


def test_weights_are_held_once() -> None:
    if native.refusal():
        pytest.skip(native.refusal())
    together = PackedExperts(torch.randn(4, 64, 32).bfloat16())
    assert together.tensors()["packed"].nbytes == 4 * 64 * 32 * 2
    first, last = together.experts[0].tensors()["packed"], together.experts[3].tensors()["packed"]
    assert last.data_ptr() - first.data_ptr() == 3 * 64 * 32 * 2
