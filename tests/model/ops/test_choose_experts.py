"""choose_experts and combine_experts: equals, order, sums, and numbers that are none, with every provider."""

from __future__ import annotations

import pytest
import torch

from quire.model.ops import choose_experts, combine_experts


def test_the_highest_come_first_and_the_lower_expert_of_equals() -> None:
    logits = torch.tensor([[1.0, 3.0, 2.0, 3.0, 2.0], [0.0, 0.0, 0.0, 0.0, 0.0]])
    _, experts = choose_experts(logits, 4)
    assert experts.tolist() == [[1, 3, 2, 4], [0, 1, 2, 3]]


@pytest.mark.parametrize("scoring", ["softmax", "sigmoid"])
def test_weights_are_those_of_the_scores(scoring: str) -> None:
    torch.manual_seed(0)
    logits = torch.randn(9, 37) * 5
    scores = logits.softmax(-1) if scoring == "softmax" else logits.sigmoid()
    weights, experts = choose_experts(logits, 6, scoring)
    torch.testing.assert_close(weights, scores.gather(1, experts), rtol=1e-5, atol=1e-7)
    assert (experts.sort(-1).values.diff() > 0).all()
    normal, same = choose_experts(logits, 6, scoring, True)
    assert torch.equal(same, experts)
    torch.testing.assert_close(normal, weights / weights.sum(-1, keepdim=True), rtol=1e-5, atol=1e-7)


def test_a_row_does_not_depend_on_the_others() -> None:
    logits = torch.randn(20, 130)
    weights, experts = choose_experts(logits, 8)
    for row in range(20):
        alone = choose_experts(logits[row : row + 1], 8)
        assert torch.equal(alone[0][0], weights[row])
        assert torch.equal(alone[1][0], experts[row])


@pytest.mark.parametrize("renormalises", [False, True])
def test_not_a_number_chooses_experts_that_exist(renormalises: bool) -> None:
    logits = torch.randn(3, 9)
    clean = choose_experts(logits, 2, "softmax", renormalises)[0]
    logits[1, 4], logits[2] = torch.nan, -torch.inf
    weights, experts = choose_experts(logits, 2, "softmax", renormalises)
    assert torch.equal(weights[0], clean[0])
    assert weights[1:].isnan().all()
    assert experts[1, 0] == 4
    assert experts.min() >= 0
    assert experts.max() < 9


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_sums_have_the_bits_of_the_reference(dtype: torch.dtype) -> None:
    for tokens, count, width in ((1, 1, 1), (5, 8, 131), (30, 2, 64)):
        x, weights = torch.randn(tokens * count, width).to(dtype), torch.rand(tokens, count)
        got = combine_experts(x, weights)
        assert torch.equal(got, combine_experts.reference(x, weights))
        assert got.dtype is dtype
