"""Native int8 linear: sums are exact, so every instruction set gives the reference's bits, whatever the rows."""

from __future__ import annotations

import pytest
import torch

from quire.model.kernels.cpu.linear_int8 import PackedInt8Weight, run
from quire.model.layers import Embedding, Linear
from quire.model.ops import linear_int8
from tests.model.kernels.test_linear import COUNTS, DTYPES, ROWS, SHAPES


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("has_bias", [False, True], ids=["", "bias"])
def test_every_row_count_and_tail_has_the_bits_of_the_reference(
    instruction_set: str, dtype: torch.dtype, has_bias: bool
) -> None:
    for outputs, inputs in SHAPES:
        torch.manual_seed(outputs)
        x = torch.randn(ROWS, inputs).to(dtype)
        weight = torch.randn(outputs, inputs).to(dtype)
        bias = torch.randn(outputs).to(dtype) if has_bias else None
        x[4], weight[-1] = 0, 0  # nothing to scale by
        packed = PackedInt8Weight(weight)
        whole = run(x, packed, bias)
        assert torch.equal(whole, linear_int8.reference(x, weight, bias)), (outputs, inputs)
        for count in COUNTS:
            assert torch.equal(run(x[:count], packed, bias), whole[:count]), (outputs, inputs, count)


def test_close_to_the_product_that_it_stands_for(instruction_set: str) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(5, 512), torch.randn(64, 512)
    want = x.double() @ weight.double().T
    error = run(x, PackedInt8Weight(weight)).double() - want
    assert error.std() < 0.02 * want.std()


def test_threads_leave_the_same_bits(instruction_set: str, two_threads: None) -> None:
    x, weight = torch.randn(40, 512), torch.randn(1000, 512)
    packed, want = PackedInt8Weight(weight), linear_int8.reference(x, weight)
    for _ in range(20):
        assert torch.equal(run(x, packed), want)


def test_results_in_float32_are_the_references(instruction_set: str) -> None:
    x, weight = torch.randn(37, 200).bfloat16(), torch.randn(70, 200).bfloat16()
    got = run(x, PackedInt8Weight(weight), None, torch.float32)
    assert torch.equal(got, linear_int8.reference(x, weight, None, torch.float32))
    assert torch.equal(got.bfloat16(), run(x, PackedInt8Weight(weight)))


@pytest.mark.parametrize("spoiler", [torch.nan, torch.inf, -torch.inf], ids=str)
def test_a_row_that_cannot_be_scaled_is_not_a_number(instruction_set: str, spoiler: float) -> None:
    x, weight = torch.randn(4, 21), torch.randn(40, 21)
    packed = PackedInt8Weight(weight)
    clean = run(x, packed)
    for place in (0, 20):
        spoiled = x.clone()
        spoiled[2, place] = spoiler
        got = run(spoiled, packed)
        assert got[2].isnan().all()
        assert torch.equal(got[[0, 1, 3]], clean[[0, 1, 3]])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_tied_table_gives_rounded_rows(instruction_set: str, dtype: torch.dtype) -> None:
    weight = torch.randn(70, 33).to(dtype)
    index = torch.tensor([0, 69, 31, 32])
    highest = weight[index].float().abs().amax(-1, keepdim=True)
    rows = PackedInt8Weight(weight).rows(index)
    assert rows.dtype is dtype
    assert ((rows.float() - weight[index].float()).abs() <= highest * (0.5 / 127 + 0.005)).all()


@pytest.mark.parametrize("backends", [(), ("cpu",)], ids=["reference", "native"])
def test_layers_hold_and_use_the_rounded_weight(instruction_set: str, backends: tuple[str, ...]) -> None:
    with torch.no_grad(), linear_int8.provided_by(backends):
        layer, table = Linear(32, 48, bias=True), Embedding(20, 32)
        for parameter in (*layer.parameters(), *table.parameters()):
            parameter.normal_()
        project, x, index = table.as_head, torch.randn(3, 32), torch.tensor([3, 19])
        want = linear_int8.reference(x, layer.weight, layer.bias), linear_int8.reference(x, table.weight)
        rows = table(index)
        layer.prepare("int8")
        table.prepare("int8")
        assert [name for name, _ in layer.named_parameters()] == ["bias"]
        assert list(table.parameters()) == []
        assert torch.equal(layer(x), want[0])
        assert torch.equal(project(x), want[1])
        torch.testing.assert_close(table(index), rows, rtol=0, atol=0.02)
