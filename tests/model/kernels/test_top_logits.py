"""The highest results without the others: the values and order of the full rows, ties, numbers that are none."""

from __future__ import annotations

import pytest
import torch

from quire.model.kernels.cpu import linear, linear_int8
from quire.model.kernels.cpu.top_logits import run
from quire.model.kernels.prepared import Prepared
from tests.model.kernels.test_linear import DTYPES

SHAPES = [(1, 1), (32, 7), (257, 40), (700, 64)]  # past one and two strips of 256 outputs
COUNTS = [1, 3, 300]


def full(x: torch.Tensor, packed: Prepared, bias: torch.Tensor | None) -> torch.Tensor:
    provider = linear_int8 if isinstance(packed, linear_int8.PackedInt8Weight) else linear
    return provider.run(x, packed, bias, torch.float32)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("pack", [linear.PackedWeight, linear_int8.PackedInt8Weight])
def test_the_same_as_sorting_the_full_rows(
    instruction_set: str, dtype: torch.dtype, pack: type[Prepared], two_threads: None
) -> None:
    for outputs, inputs in SHAPES:
        # few distinct numbers: many results are equal
        x = torch.randint(-2, 3, (70, inputs)).to(dtype)
        packed, bias = (
            pack(torch.randint(-1, 2, (outputs, inputs)).to(dtype)),
            torch.zeros(outputs, dtype=dtype),
        )
        values, order = torch.sort(full(x, packed, bias), dim=-1, descending=True, stable=True)
        for count in COUNTS:
            for rows in (1, 15, 33, 70) if count <= outputs else ():
                got_values, got_outputs = run(x[:rows], packed, bias, count)
                assert torch.equal(got_values, values[:rows, :count])
                assert torch.equal(got_outputs, order[:rows, :count])


def test_not_a_number_comes_first_and_infinity_last(instruction_set: str) -> None:
    weight = torch.zeros(600, 4)
    weight[:, 0] = torch.arange(600)
    bias = torch.zeros(600)
    bias[[37, 400]], bias[599], bias[:30] = torch.nan, torch.inf, -torch.inf
    values, outputs = run(torch.ones(2, 4), linear.PackedWeight(weight), bias, 600)
    assert outputs[:, :4].tolist() == [[37, 400, 599, 598]] * 2
    assert outputs[:, -30:].tolist() == [list(range(30))] * 2
    assert values[:, :2].isnan().all()


def test_what_does_not_fit_is_refused(instruction_set: str) -> None:
    packed = linear.PackedWeight(torch.randn(6, 4))
    assert [len(part) for part in run(torch.empty(0, 4), packed)] == [0, 0]
    for count in (0, 7):
        with pytest.raises(ValueError, match="1 to 6 outputs"):
            run(torch.randn(2, 4), packed, None, count)
