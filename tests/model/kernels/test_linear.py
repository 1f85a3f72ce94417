"""Native linear: every number of rows, every tail in outputs and inputs, against float64 and against itself."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from quire.model.kernels.cpu.linear import PackedWeight, run
from tests.model.kernels.native_library import use

ROWS = 70  # past two pairs of tiles of sixteen rows, the highest of any instruction set
COUNTS = [*range(1, 36), 47, 48, 49, 63, 64, 65, 69]
DTYPES = [torch.float32, torch.bfloat16, torch.float16]
SHAPES = [
    (1, 1),
    (15, 2),
    (16, 7),
    (17, 33),
    (31, 64),
    (32, 3),
    (33, 100),
    (95, 31),
    (129, 48),
    (260, 16),
    (64, 1030),
]


def exact(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    product = x.double() @ weight.double().T
    return product if bias is None else product + bias.double()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("has_bias", [False, True], ids=["", "bias"])
def test_every_row_count_and_tail(instruction_set: str, dtype: torch.dtype, has_bias: bool) -> None:
    for outputs, inputs in SHAPES:
        torch.manual_seed(outputs)
        x = torch.randn(ROWS, inputs).to(dtype)
        weight = (torch.randn(outputs, inputs) * inputs**-0.5).to(dtype)
        bias = torch.randn(outputs).to(dtype) if has_bias else None
        packed = PackedWeight(weight)
        whole = run(x, packed, bias)
        tolerance = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}[dtype]
        torch.testing.assert_close(whole.double(), exact(x, weight, bias), rtol=tolerance, atol=tolerance)
        for count in COUNTS:
            assert torch.equal(run(x[:count], packed, bias), whole[:count]), (outputs, inputs, count)
            assert torch.equal(run(x[count:], packed, bias), whole[count:]), (outputs, inputs, count)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_threads_leave_the_same_bits(instruction_set: str, dtype: torch.dtype, two_threads: None) -> None:
    x, weight = torch.randn(40, 512).to(dtype), torch.randn(1000, 512).to(dtype)
    packed = PackedWeight(weight)
    whole = run(x, packed)
    for _ in range(20):
        assert torch.equal(run(x, packed), whole)
    for row in range(len(x)):
        assert torch.equal(run(x[row : row + 1], packed), whole[row : row + 1])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_results_in_float32_round_to_the_others(instruction_set: str, dtype: torch.dtype) -> None:
    x, weight, bias = (
        torch.randn(37, 100).to(dtype),
        torch.randn(70, 100).to(dtype),
        torch.randn(70).to(dtype),
    )
    packed = PackedWeight(weight)
    wide = run(x, packed, bias, torch.float32)
    assert wide.dtype is torch.float32
    assert torch.equal(wide.to(dtype), run(x, packed, bias))
    torch.testing.assert_close(wide.double(), exact(x, weight, bias), rtol=1e-4, atol=1e-4)
    with pytest.raises(TypeError, match="float64"):
        run(x, packed, bias, torch.float64)


def test_more_inputs_than_the_second_cache_holds(two_threads: None) -> None:
    with use("amx"):
        x, weight = torch.randn(333, 3000).bfloat16(), torch.randn(150, 3000).bfloat16()
        packed = PackedWeight(weight)
        whole = run(x, packed, None, torch.float32)
        torch.testing.assert_close(whole.double(), exact(x, weight, None), rtol=1e-3, atol=1e-2)
        for start in range(0, 333, 37):
            assert torch.equal(
                run(x[start : start + 37], packed, None, torch.float32), whole[start : start + 37]
            )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_rows_may_lie_apart(instruction_set: str, dtype: torch.dtype) -> None:
    wide, weight = torch.randn(9, 141).to(dtype), torch.randn(40, 64).to(dtype)
    packed = PackedWeight(weight)
    for start in (0, 1, 6):  # odd strides and odd starts: pairs of inputs are not aligned
        part = wide[:, start : start + 64]
        assert torch.equal(run(part, packed), run(part.contiguous(), packed))
    assert torch.equal(run(wide[:0, :64], packed), torch.empty(0, 40, dtype=dtype))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_rows_that_collide_are_moved_apart_by_all_threads(
    instruction_set: str, dtype: torch.dtype, two_threads: None
) -> None:
    x, weight = torch.randn(150, 1024).to(dtype), torch.randn(40, 1024).to(dtype)
    packed = PackedWeight(weight)
    whole = run(x, packed)
    for row in range(0, len(x), 7):
        assert torch.equal(run(x[row : row + 1], packed), whole[row : row + 1])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_packed_table_gives_its_rows_back(instruction_set: str, dtype: torch.dtype) -> None:
    for outputs, inputs in SHAPES:
        weight = torch.randn(outputs, inputs).to(dtype)
        index = torch.randint(outputs, (11,))
        assert torch.equal(PackedWeight(weight).rows(index), weight[index])
        assert torch.equal(PackedWeight(weight.T.contiguous().T).rows(index), weight[index])


def test_not_a_number_stays_in_its_row_and_output(instruction_set: str) -> None:
    for dtype in DTYPES:
        x, weight = torch.randn(14, 33).to(dtype), torch.randn(40, 33).to(dtype)
        clean = run(x, PackedWeight(weight))
        x[3, 32], weight[7, 0] = torch.nan, torch.inf
        got = run(x, PackedWeight(weight))
        assert got[3].isnan().all()
        assert not got[:, 7].isfinite().any()
        keep = [row for row in range(14) if row != 3]
        columns = [column for column in range(40) if column != 7]
        assert torch.equal(got[keep][:, columns], clean[keep][:, columns])


def test_a_packed_weight_takes_the_place_of_the_tensor() -> None:
    from quire.model.layers import Embedding, Linear

    with torch.no_grad():
        linear, table, head = Linear(8, (3, 5), bias=True), Embedding(10, 8), Embedding(10, 8)
        for layer in (linear, table, head):
            for parameter in layer.parameters():
                parameter.normal_()
        project = head.as_head
        x, rows = torch.randn(4, 8), head.weight[torch.tensor([2, 9])]
        before = [linear(x), project(x), table(torch.tensor([1]))]
        for layer in (linear, table, head):
            layer.prepare("")
        assert [name for name, _ in linear.named_parameters()] == ["bias"]
        assert isinstance(table.weight, Tensor)
        assert list(head.parameters()) == []
        assert torch.equal(head(torch.tensor([2, 9])), rows)
        for got, want in zip((linear(x), project(x), table(torch.tensor([1]))), before, strict=True):
            torch.testing.assert_close(got, want)


def test_what_does_not_fit_is_refused() -> None:
    packed = PackedWeight(torch.randn(6, 4))
    with pytest.raises(TypeError, match=r"inputs \(2, 3\)"):
        run(torch.randn(2, 3), packed)
    with pytest.raises(TypeError, match="bfloat16"):
        run(torch.randn(2, 4).bfloat16(), packed)
    with pytest.raises(TypeError, match="bias"):
        run(torch.randn(2, 4), packed, torch.randn(5))
    with pytest.raises(IndexError, match="6 rows"):
        packed.rows(torch.tensor([6]))
