"""Prepared: every form a weight can take is known by its name, however deep it stands below Prepared."""

from __future__ import annotations

import pytest
import torch

from quire.model.kernels import Prepared
from quire.model.kernels.cpu.grouped_linear import PackedExperts
from quire.model.kernels.cpu.linear import PackedWeight
from quire.model.kernels.cpu.linear_int4 import PackedInt4Weight
from quire.model.kernels.cpu.linear_int8 import PackedInt8Weight
from quire.model.ops.grouped_linear import LINEARS, ExpertWeights
from quire.model.ops.linear_int4 import Int4Weight
from quire.model.ops.linear_int8 import Int8Weight


@pytest.mark.parametrize("kind", [PackedWeight, PackedInt8Weight, PackedInt4Weight, Int8Weight, Int4Weight])
def test_a_weight_comes_back_from_its_tensors_by_its_name(kind):
    weight = kind(torch.randn(40, 96))
    restored = Prepared.kinds[weight.kind()].restore(weight.shape, weight.dtype, weight.tensors())
    index = torch.tensor([39, 0, 7])
    assert type(restored) is kind
    assert torch.equal(restored.rows(index), weight.rows(index))


@pytest.mark.parametrize(
    ("kind", "linear"),
    [
        *((PackedExperts, linear) for linear in LINEARS),
        *((ExpertWeights, linear) for linear in ("linear_int8", "linear_int4")),
    ],
)
def test_weights_of_experts_come_back(kind, linear):
    weight = kind(torch.randn(5, 40, 96), linear)
    restored = Prepared.kinds[weight.kind()].restore(weight.shape, weight.dtype, weight.tensors())
    index = torch.tensor([4, 0])
    assert type(restored) is kind
    assert torch.equal(restored.rows(index), weight.rows(index))
    assert restored.tensors().keys() == weight.tensors().keys()
