"""How streams are cut into items."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quire.api.serverless.batching import MAX_ITEM_BYTES, BatchCounter, BatchGrowth
from quire.api.serverless.failures import JobError


def sizes(growth: BatchGrowth, num_outputs: int) -> list[int]:
    counter, found, held = BatchCounter(growth), [], 0
    for _ in range(num_outputs):
        held += 1
        if counter.add(1):
            found.append(held)
            held = 0
    return [*found, held] if held else found


@pytest.mark.parametrize(
    ("growth", "expected"),
    [
        (BatchGrowth(), [1, 3, 9, 27, 50, 10]),
        (BatchGrowth(most=10), [1, 3, 9, *[10] * 8, 7]),
        (BatchGrowth(most=5, least=5), [5] * 20),
        (BatchGrowth(factor=1.5), [1, 2, 3, 4, 6, 8, 12, 18, 26, 20]),
        (BatchGrowth(factor=1.0), [50, 50]),
        (BatchGrowth(least=0), [50, 50]),
        (BatchGrowth(most=1), [1] * 100),
    ],
)
def test_a_hundred_outputs(growth, expected):
    assert sizes(growth, 100) == expected


@given(st.integers(1, 60), st.integers(0, 60), st.floats(0, 5, allow_nan=False), st.integers(0, 300))
def test_no_output_is_lost_and_sizes_never_shrink_nor_pass_the_most(most, least, factor, num_outputs):
    growth = BatchGrowth(most, least, factor)
    found = sizes(growth, num_outputs)
    assert sum(found) == num_outputs
    assert all(size <= max(most, 1) for size in found)
    assert found[:-1] == sorted(found[:-1])


def test_a_job_changes_its_own_growth_and_falsy_means_the_default():
    base = BatchGrowth()
    asked = base.asked_by({"max_batch_size": 20, "min_batch_size": 0, "batch_size_growth_factor": 2.5})
    assert asked == BatchGrowth(most=20, least=1, factor=2.5)
    assert base.asked_by({"max_batch_size": None}) == base
    assert base.asked_by({"max_batch_size": "7"}).most == 7


@pytest.mark.parametrize("value", ["many", True, -1, [3], float("inf")])
def test_a_wrong_field_is_named(value):
    with pytest.raises(JobError, match="max_batch_size") as caught:
        BatchGrowth().asked_by({"max_batch_size": value})
    assert caught.value.param == "max_batch_size"


def test_an_item_is_closed_before_it_outgrows_what_the_platform_takes():
    counter = BatchCounter(BatchGrowth(most=10**9, least=10**8))
    held_bytes, largest = 0, 0
    for _ in range(5000):
        held_bytes += 1000
        if counter.add(1000):
            largest = max(largest, held_bytes)
            held_bytes = 0
    assert MAX_ITEM_BYTES <= largest < MAX_ITEM_BYTES + 1001
