"""draw_tokens: the distribution of softmax, the tokens of the reference to the bit, truncations by definition."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quire.model.kernels import configure
from quire.model.ops import draw_tokens
from quire.model.ops.draw_tokens import (
    FULL_WEIGHT,
    SHARES,
    Truncation,
    kept_weights,
    logit_scales,
    whole_weights,
)

PLAIN = (0.0, 0, 1.0)


def ask(*rows: tuple[float, int, float]) -> Truncation:
    min_p, top_k, top_p = zip(*rows, strict=True)
    return Truncation.of(min_p, top_k, top_p)


def draws(rows: int, count: int, seed: int = 0) -> torch.Tensor:
    drawn = torch.randint(0, SHARES, (rows, count), generator=torch.Generator().manual_seed(seed))
    drawn[:, 0], drawn[:, -1] = 0, SHARES - 1
    return drawn


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        (PLAIN, 7),
        ((0.0, 3, 1.0), 3),
        ((0.0, 0, 0.6), 2),
        ((0.3, 0, 1.0), 3),
        ((0.1, 5, 0.95), 4),
    ],
)
def test_draws_follow_the_truncated_softmax(asked: tuple[float, int, float], kept: int) -> None:
    logits_V = torch.tensor([0.3, -1.0, 2.0, 0.0, -torch.inf, 1.2, -4.0, 2.0])
    count, temperature = 20_000, 0.9
    tokens_RN, _ = draw_tokens(
        logits_V[None], None, torch.tensor([2.0]), logit_scales([temperature]), ask(asked), draws(1, count)
    )
    order = sorted(range(8), key=lambda token: (-logits_V[token].item(), token))[:kept]
    expected = torch.zeros(8, dtype=torch.float64)
    expected[order] = (logits_V[order].double() / temperature).softmax(0) * count
    seen = torch.bincount(tokens_RN[0], minlength=8).double()
    real = expected > 0
    assert seen[~real].sum() == 0
    chi_square = ((seen - expected)[real] ** 2 / expected[real]).sum().item()
    assert chi_square < 22.46  # the 0.1 % point of 6 degrees of freedom


def test_the_ends_of_the_unit_interval_draw_the_first_and_last_tokens_with_weight() -> None:
    logits_RV = torch.tensor([[-torch.inf, 0.0, -90.0, -5.0, 0.0, -torch.inf]])
    tokens_RN, totals_R = draw_tokens(
        logits_RV, None, torch.tensor([0.0]), logit_scales([1.0]), ask(PLAIN), torch.tensor([[0, SHARES - 1]])
    )
    assert tokens_RN.tolist() == [[1, 4]]
    assert totals_R.item() == pytest.approx((2 + math.exp(-5)) * FULL_WEIGHT, rel=1e-6)


def test_the_likeliest_token_weighs_one_and_the_unlikely_nothing() -> None:
    weights = whole_weights(torch.tensor([[0.0, -39.0, -41.5, -64.0, 0.0]]))[0].tolist()
    assert weights == [FULL_WEIGHT, 2, 0, 0, FULL_WEIGHT]


def test_weights_are_those_of_two_to_the_power_everywhere() -> None:
    scaled = -torch.linspace(0, 41, 100_003)
    exact = torch.exp2(scaled.double()) * FULL_WEIGHT
    assert ((whole_weights(scaled[None])[0] - exact).abs() <= exact * 3e-7 + 1).all()


ROWS = st.tuples(
    st.sampled_from([0.0, 1e-9, 0.01, 0.3, 1.0]),
    st.sampled_from([0, 1, 2, 7, 40, 300, 10**6]),
    st.sampled_from([1.0, 0.999, 0.9, 0.5, 1e-12]),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    width=st.sampled_from([1, 2, 15, 16, 17, 511, 513, 1024, 1025, 4000]),
    spread=st.sampled_from([0.0, 1e-6, 0.5, 3.0, 40.0, 1e30]),
    grain=st.sampled_from([None, 0.5, 4.0]),
    holes=st.booleans(),
    rows=st.lists(ROWS, min_size=1, max_size=6),
    temperature=st.sampled_from([1e-40, 0.01, 0.7, 1.0, 1.9, 1e6]),
    seed=st.integers(0, 2**32),
)
def test_the_tokens_and_totals_of_the_reference(
    width: int,
    spread: float,
    grain: float | None,
    holes: bool,
    rows: list[tuple[float, int, float]],
    temperature: float,
    seed: int,
) -> None:
    logits_RV = torch.randn(len(rows), width, generator=torch.Generator().manual_seed(seed)) * spread
    if grain is not None:
        logits_RV = (logits_RV / grain).round() * grain
    if holes:
        logits_RV[:, 1::3] = -torch.inf
    asked, drawn = ask(*rows), draws(len(rows), 5, seed)
    parts = (logits_RV.amax(dim=1), logit_scales([temperature] * len(rows)), asked)
    tokens_RN, totals_R = draw_tokens(logits_RV, None, *parts, drawn)
    want_RN, want_R = draw_tokens.reference(logits_RV, None, *parts, drawn)
    assert torch.equal(tokens_RN, want_RN)
    assert torch.equal(totals_R, want_R)


def test_kept_tokens_are_those_of_the_definition() -> None:
    """Against a scan in plain integers, in which ties go to the lower id."""
    generator = torch.Generator().manual_seed(1)
    for asked in (PLAIN, (0.0, 4, 1.0), (0.0, 0, 0.5), (0.2, 0, 1.0), (0.02, 30, 0.8)):
        logits_RV = torch.randint(-6, 4, (1, 60), generator=generator).float()
        parts = (logits_RV.amax(dim=1), logit_scales([1.0]))
        weights = kept_weights(logits_RV, *parts, ask(PLAIN))[0].tolist()
        order = sorted(range(60), key=lambda token: (-logits_RV[0, token].item(), token))
        order = [token for token in order if weights[token] >= asked[0] * FULL_WEIGHT][: asked[1] or None]
        total, above, kept = sum(weights[token] for token in order), 0, [0] * 60
        for token in order:
            if above >= asked[2] * total:
                break
            kept[token] = weights[token]
            above += weights[token]
        assert kept_weights(logits_RV, *parts, ask(asked))[0].tolist() == kept


def test_rows_by_index_in_a_wider_matrix_alone_and_together_on_any_threads(provider: str) -> None:
    wide_RV = torch.randn(9, 4100, generator=torch.Generator().manual_seed(5)) * 4
    logits_RV, index_r, drawn = wide_RV[:, 50:4050], torch.tensor([8, 3, 3, 0]), draws(4, 3)
    asked = ask(PLAIN, (0.0, 20, 0.9), (0.0, 0, 0.8), (0.05, 0, 1.0))
    maxima_r, scales_r = logits_RV[index_r].amax(dim=1), logit_scales([1.0, 0.5, 2.0, 1.0])
    alone = [
        draw_tokens(
            logits_RV[row : row + 1].clone(),
            None,
            maxima_r[i : i + 1],
            scales_r[i : i + 1],
            Truncation(*(part[i : i + 1] for part in asked)),
            drawn[i : i + 1],
        )[0]
        for i, row in enumerate(index_r.tolist())
    ]
    try:
        for threads in (1, 2):
            configure(num_threads=threads, instruction_set="auto" if provider == "reference" else provider)
            assert torch.equal(
                draw_tokens(logits_RV, index_r, maxima_r, scales_r, asked, drawn)[0], torch.cat(alone)
            )
    finally:
        configure(num_threads=1, instruction_set="auto" if provider == "reference" else provider)


def test_what_does_not_fit_is_refused(provider: str) -> None:
    if provider == "reference":
        pytest.skip("torch has checks of its own")
    logits_RV, maxima_r, scales_r, asked = (
        torch.zeros(2, 5),
        torch.zeros(2),
        logit_scales([1.0, 1.0]),
        ask(PLAIN, PLAIN),
    )
    with pytest.raises(TypeError, match="float32"):
        draw_tokens(logits_RV.double(), None, maxima_r, scales_r, asked, draws(2, 2))
    with pytest.raises(TypeError, match="2 rows are meant"):
        draw_tokens(logits_RV, None, maxima_r[:1], scales_r, asked, draws(2, 2))
    with pytest.raises(IndexError):
        draw_tokens(logits_RV, torch.tensor([0, 2]), maxima_r, scales_r, asked, draws(2, 2))
    with pytest.raises(TypeError, match="no tokens"):
        draw_tokens(torch.zeros(2, 0), None, maxima_r, scales_r, asked, draws(2, 2))
