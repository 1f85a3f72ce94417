"""Native int4 linear: the bits of the reference on every instruction set, for every number of rows and every tail."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from quire.model.kernels.cpu.linear import PackedWeight
from quire.model.kernels.cpu.linear import run as run_linear
from quire.model.kernels.cpu.linear_int4 import PackedInt4Weight, run
from quire.model.layers import Embedding, Linear
from quire.model.layers.linear import SCHEMES
from quire.model.ops import linear_int4
from quire.model.ops.linear_int4 import Int4Weight
from tests.model.kernels.test_linear import DTYPES

ROWS = 70  # past two pairs of AMX tiles
GROUPS = (32, 64, 128)
SHAPES = [(1, 1), (17, 33), (31, 64), (33, 100), (95, 31), (129, 256), (64, 1030)]


@pytest.mark.parametrize("group_size", GROUPS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_rounded_inputs_have_the_bits_of_the_reference(
    instruction_set: str, dtype: torch.dtype, group_size: int
) -> None:
    for (outputs, inputs), has_bias in zip(SHAPES, (False, True) * 4, strict=False):
        torch.manual_seed(outputs)
        x = torch.randn(ROWS, inputs).to(dtype)
        weight = torch.randn(outputs, inputs).to(dtype)
        bias = torch.randn(outputs).to(dtype) if has_bias else None
        x[4], weight[-1] = 0, 0  # nothing to scale by
        packed, plain = PackedInt4Weight(weight, group_size), Int4Weight(weight, group_size)
        whole = run(x, packed, bias)
        assert torch.equal(whole, linear_int4.reference(x, plain, bias)), (outputs, inputs)
        wide = run(x, packed, bias, torch.float32)
        assert torch.equal(wide, linear_int4.reference(x, plain, bias, torch.float32)), (outputs, inputs)
        for count in range(1, ROWS):
            assert torch.equal(run(x[:count], packed, bias), whole[:count]), (outputs, inputs, count)


@pytest.mark.parametrize("group_size", GROUPS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_exact_inputs_have_the_bits_of_linear(
    instruction_set: str, dtype: torch.dtype, group_size: int
) -> None:
    for (outputs, inputs), has_bias in zip(SHAPES, (False, True) * 4, strict=False):
        torch.manual_seed(outputs)
        x = torch.randn(ROWS, inputs).to(dtype)
        weight = torch.randn(outputs, inputs).to(dtype)
        bias = torch.randn(outputs).to(dtype) if has_bias else None
        packed = PackedInt4Weight(weight, group_size, rounds_inputs=False)
        table = packed.rows(torch.arange(outputs))
        whole = run(x, packed, bias)
        assert torch.equal(whole, run_linear(x, PackedWeight(table), bias)), (outputs, inputs)
        wide = run(x, packed, bias, torch.float32)
        assert torch.equal(wide, run_linear(x, PackedWeight(table), bias, torch.float32)), (outputs, inputs)
        for count in range(1, ROWS):
            assert torch.equal(run(x[:count], packed, bias), whole[:count]), (outputs, inputs, count)


@pytest.mark.parametrize("group_size", GROUPS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_weights_are_rounded_as_by_the_reference(
    instruction_set: str, dtype: torch.dtype, group_size: int
) -> None:
    for outputs, inputs in SHAPES:
        weight = torch.randn(outputs, inputs).to(dtype)
        weight[0] = 0
        index = torch.arange(outputs)
        rows = PackedInt4Weight(weight, group_size).rows(index)
        assert torch.equal(rows, Int4Weight(weight, group_size).rows(index))
        assert torch.equal(PackedInt4Weight(weight.T.contiguous().T, group_size).rows(index), rows)


@pytest.mark.parametrize(("group_size", "allowed"), [(32, 0.085), (64, 0.1), (128, 0.115)])
@pytest.mark.parametrize("rounds_inputs", [True, False], ids=["int8", "exact"])
def test_close_to_the_product_that_it_stands_for(
    instruction_set: str, group_size: int, allowed: float, rounds_inputs: bool
) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(8, 512), torch.randn(64, 512)
    packed = PackedInt4Weight(weight, group_size, rounds_inputs)
    of_rounded = x.double() @ packed.rows(torch.arange(64)).double().T
    want = x.double() @ weight.double().T
    got = run(x, packed).double()
    assert (got - of_rounded).std() < (0.02 if rounds_inputs else 1e-6) * want.std()
    assert (got - want).std() < allowed * want.std()


@pytest.mark.parametrize("rounds_inputs", [True, False], ids=["int8", "exact"])
def test_threads_leave_the_same_bits(instruction_set: str, rounds_inputs: bool, two_threads: None) -> None:
    x, weight = torch.randn(40, 512), torch.randn(1000, 512)
    packed = PackedInt4Weight(weight, 64, rounds_inputs)
    whole = run(x, packed)
    for _ in range(20):
        assert torch.equal(run(x, packed), whole)
    for row in range(len(x)):
        assert torch.equal(run(x[row : row + 1], packed), whole[row : row + 1])


@pytest.mark.parametrize("spoiler", [torch.nan, torch.inf, -torch.inf], ids=str)
def test_not_a_number_stays_in_its_row_and_output(instruction_set: str, spoiler: float) -> None:
    x, weight = torch.randn(12, 70), torch.randn(40, 70)
    clean = run(x, PackedInt4Weight(weight))
    x[2, 69], weight[7, 0] = spoiler, spoiler
    got = run(x, PackedInt4Weight(weight))
    assert got[2].isnan().all()
    assert got[:, 7].isnan().all()
    keep = [row for row in range(12) if row != 2]
    columns = [column for column in range(40) if column != 7]
    assert torch.equal(got[keep][:, columns], clean[keep][:, columns])
    assert torch.equal(got.isnan(), linear_int4.reference(x, weight).isnan())


@pytest.mark.parametrize("scheme", [name for name in SCHEMES if name.startswith("int4")])
@pytest.mark.parametrize("backends", [(), ("cpu",)], ids=["reference", "native"])
def test_layers_hold_and_use_the_rounded_weight(
    instruction_set: str, backends: tuple[str, ...], scheme: str
) -> None:
    form = SCHEMES[scheme].form
    with torch.no_grad(), linear_int4.provided_by(backends):
        layer, table = Linear(160, 48, bias=True), Embedding(20, 160)
        for parameter in (*layer.parameters(), *table.parameters()):
            parameter.normal_()
        project, x, index = table.as_head, torch.randn(3, 160), torch.tensor([3, 19])
        held = Int4Weight(layer.weight, **form), Int4Weight(table.weight, **form)
        want = linear_int4.reference(x, held[0], layer.bias), linear_int4.reference(x, held[1])
        layer.prepare(scheme)
        table.prepare(scheme)
        assert [name for name, _ in layer.named_parameters()] == ["bias"]
        assert list(table.parameters()) == []
        torch.testing.assert_close(layer(x), want[0])
        torch.testing.assert_close(project(x), want[1])
        assert torch.equal(table(index), held[1].rows(index))


def test_the_scale_of_a_group_is_the_best_of_those_tried() -> None:
    torch.manual_seed(1)
    weight = torch.randn(50, 128)
    for group_size, sign in product(GROUPS, (1, -1)):
        group = Int4Weight(sign * weight, group_size)
        kept = group.rows(torch.arange(50)).unflatten(1, (-1, group_size))
        error = (kept - (sign * weight).unflatten(1, (-1, group_size))).square().sum(-1)
        highest = weight.unflatten(1, (-1, group_size)).abs().amax(-1)
        plain = (weight.unflatten(1, (-1, group_size)) / (highest / 7).unsqueeze(-1)).round()
        plain_error = (
            (plain * (highest / 7).unsqueeze(-1) - weight.unflatten(1, (-1, group_size))).square().sum(-1)
        )
        assert error.sum() < 0.85 * plain_error.sum()
