"""first_largest: ties go to the lowest index, NaN is told, whatever the width and place."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quire.model.ops import first_largest

NUMBERS = st.sampled_from([-math.inf, -1.0, -0.0, 0.0, 0.5, 3.0, math.inf, math.nan])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    width=st.integers(1, 2200),
    places=st.dictionaries(st.integers(0, 2199), NUMBERS),
    rest=NUMBERS,
    rows=st.integers(1, 3),
)
def test_like_a_scan(width: int, places: dict[int, float], rest: float, rows: int) -> None:
    row = [places.get(place, rest) for place in range(width)]
    nans = [place for place, number in enumerate(row) if number != number]
    want = nans[0] if nans else row.index(max(row))
    value_R, index_R = first_largest(torch.tensor([row] * rows))
    assert index_R.tolist() == [want] * rows
    assert torch.equal(
        value_R.nan_to_num(7.0), torch.full((rows,), math.nan if nans else row[want]).nan_to_num(7.0)
    )


def test_rows_apart_in_memory() -> None:
    values_RV = torch.randn(4, 3000, generator=torch.Generator().manual_seed(0))
    for part in (values_RV[:, 1000:2100], values_RV.T, values_RV[::2]):
        value_R, index_R = first_largest(part)
        assert torch.equal(value_R, part.amax(1))
        assert torch.equal(index_R, part.argmax(1))
        index_r = torch.tensor([3, 1, 1]) % len(part)
        value_r, place_r = first_largest(part, index_r)
        assert torch.equal(value_r, value_R[index_r])
        assert torch.equal(place_r, index_R[index_r])


def test_an_index_out_of_the_rows_is_refused() -> None:
    for index in (-5, 4):
        with pytest.raises(IndexError):
            first_largest(torch.randn(4, 9), torch.tensor([0, index]))
