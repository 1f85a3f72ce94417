"""penalise: the bits of the formulas taken one number at a time, and nothing else is touched."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quire.model.ops import penalise

SIZE = 300
LOGITS = st.one_of(st.floats(-60, 60, width=32), st.sampled_from([0.0, -0.0, math.inf, -math.inf, math.nan]))
AMOUNTS = st.one_of(st.just(0.0), st.floats(-2, 2, width=32))


def expected(
    row: np.ndarray, counts: dict[int, int], repetition: float, frequency: float, presence: float
) -> np.ndarray:
    row = row.copy()
    for token, count in counts.items():
        if not 0 <= token < len(row):
            continue
        if repetition != 1.0:
            factor = np.float32(repetition)
            row[token] = row[token] / factor if row[token] > 0 else row[token] * factor
        if frequency != 0.0:
            row[token] = row[token] - np.float32(count) * np.float32(frequency)
        if presence != 0.0:
            row[token] = row[token] - np.float32(count > 0) * np.float32(presence)
    return row


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    special=st.dictionaries(st.integers(0, SIZE - 1), LOGITS, max_size=20),
    counts=st.dictionaries(st.integers(-3, SIZE + 3), st.integers(0, 5), max_size=150),
    repetition=st.one_of(st.just(1.0), st.floats(2**-10, 5, width=32)),
    frequency=AMOUNTS,
    presence=AMOUNTS,
)
def test_one_number_at_a_time(
    special: dict[int, float],
    counts: dict[int, int],
    repetition: float,
    frequency: float,
    presence: float,
) -> None:
    row = np.random.default_rng(len(counts)).normal(size=SIZE).astype(np.float32)
    for token, logit in special.items():
        row[token] = logit
    got_V = torch.from_numpy(row.copy())
    ids_N = torch.tensor(list(counts), dtype=torch.int64)
    result_V = penalise(
        got_V, ids_N, torch.tensor(list(counts.values())).float(), repetition, frequency, presence
    )
    assert result_V is got_V
    want = expected(row, counts, repetition, frequency, presence)
    is_number = ~np.isnan(want)
    np.testing.assert_array_equal(np.isnan(got_V.numpy()), ~is_number)
    np.testing.assert_array_equal(got_V.numpy().view(np.int32)[is_number], want.view(np.int32)[is_number])


def test_a_row_within_others() -> None:
    logits_RV = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    before_RV = logits_RV.clone()
    penalise(logits_RV[1], torch.tensor([0, 49]), torch.ones(2), 1.0, 0.0, 1.0)
    before_RV[1, [0, 49]] -= 1
    assert torch.equal(logits_RV, before_RV)


def test_logits_apart_in_memory() -> None:
    logits_VR = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    want = logits_VR[:, 1].clone()
    want[7] -= 1
    assert torch.equal(penalise(logits_VR[:, 1], torch.tensor([7]), torch.ones(1), 1.0, 0.0, 1.0), want)


def test_other_types_are_refused(provider: str) -> None:
    if provider == "reference":
        pytest.skip("torch takes them")
    for ids, counts in ((torch.ones(1), torch.ones(1)), (torch.tensor([1]), torch.ones(2))):
        with pytest.raises(TypeError, match="penalise: ids"):
            penalise(torch.zeros(5), ids, counts, 2.0, 0.0, 0.0)
