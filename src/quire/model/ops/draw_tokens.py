"""draw_tokens: min_p, top_k and top_p, and draws from what they leave, in whole numbers.

A token's scaled logit is t = max((logit - maximum) * scale, -64) in float32, with scale = log2(e) / temperature. Its
weight is floor(2**40 * 2**t): with n the whole number next to t (ties to even) and r = t - n, 2**r is a polynomial
whose products and sums are each rounded to float32, from the highest power down. The likeliest token weighs 2**40,
one of t < -41 nothing. Sums of weights are exact in any order: every provider draws the same tokens, bit for bit.

Tokens stand in order of falling t, equal ones by rising id. Each truncation keeps a leading run of what the one
before it left: min_p those with t >= floor, top_k the first k, top_p the shortest run whose weights reach its share
of the total, rounded up. A draw of d / 2**53 takes the first token, by id, whose cumulative weight exceeds it.
Shapes: R rows of logits, V vocabulary, r rows of this call, N draws for each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from quire.model.ops.contract import Case, Op

FULL_WEIGHT = 2**40  # the weight of a row's likeliest token; 2**22 such tokens still sum below 2**63
SHARES = 2**53  # draws and top_p are counted in units of 1 / SHARES

_LEAST_SCALED = -64.0
# 2**r on -1/2 .. 1/2 within a relative 1e-7, from the fifth power of r down.
_POWERS = (
    0.001326472731307149,
    0.009671512991189957,
    0.05550733581185341,
    0.24022242426872253,
    0.6931470036506653,
)


class Truncation(NamedTuple):
    """What each row asks for. Off: min_p 0, top_k 0, top_p 1."""

    floor_r: Tensor  # float32, log2(min_p)
    top_k_r: Tensor  # int64
    top_p_r: Tensor  # int64, in units of 1 / SHARES

    @classmethod
    def of(cls, min_p: Sequence[float], top_k: Sequence[int], top_p: Sequence[float]) -> Truncation:
        floors = [math.log2(share) if share > 0 else -math.inf for share in min_p]
        shares = [max(1, math.ceil(share * SHARES)) for share in top_p]
        return cls(torch.tensor(floors), torch.tensor(list(top_k)), torch.tensor(shares))


def logit_scales(temperatures: Sequence[float]) -> Tensor:
    """float32 log2(e) / temperature, finite."""
    most = torch.finfo(torch.float32).max
    return torch.tensor([min(math.log2(math.e) / temperature, most) for temperature in temperatures])


def scaled_logits(logits_rV: Tensor, maxima_r: Tensor, scales_r: Tensor) -> Tensor:
    """float32 (r, V), from -64 to 0."""
    return (logits_rV - maxima_r[:, None]).mul_(scales_r[:, None]).clamp_(min=_LEAST_SCALED)


def whole_weights(scaled_rV: Tensor) -> Tensor:
    """int64 weights (r, V) of scaled logits."""
    whole_rV = scaled_rV.round()
    rest_rV = scaled_rV - whole_rV
    power_rV = torch.full_like(scaled_rV, _POWERS[0])
    for factor in (*_POWERS[1:], 1.0):
        power_rV = power_rV.mul_(rest_rV).add_(factor)
    scale_rV = (whole_rV.to(torch.int32) + (40 + 127) << 23).view(torch.float32)  # 2**(40 + n) by its bits
    return power_rV.mul_(scale_rV).to(torch.int64)


def kept_weights(logits_rV: Tensor, maxima_r: Tensor, scales_r: Tensor, asked: Truncation) -> Tensor:
    """int64 weights (r, V), 0 for what the truncation leaves out; nothing is in the way of a plain row's."""
    scaled_rV = scaled_logits(logits_rV, maxima_r, scales_r)
    weights_rV = whole_weights(scaled_rV).mul_(scaled_rV >= asked.floor_r.to(scaled_rV.device)[:, None])
    cuts = zip(asked.top_k_r.tolist(), asked.top_p_r.tolist(), strict=True)
    for row, (top_k, top_p) in enumerate(cuts):
        if top_k <= 0 and top_p >= SHARES:
            continue
        order_V = torch.sort(scaled_rV[row], descending=True, stable=True).indices
        ordered_V = weights_rV[row][order_V]
        if top_k > 0:
            ordered_V[top_k:] = 0
        before_V = ordered_V.cumsum(0) - ordered_V
        ordered_V *= before_V < -(-top_p * int(ordered_V.sum()) // SHARES)
        weights_rV[row, order_V] = ordered_V
    return weights_rV


def reference(
    logits_RV: Tensor,
    index_r: Tensor | None,
    maxima_r: Tensor,
    scales_r: Tensor,
    asked: Truncation,
    draws_rN: Tensor,
) -> tuple[Tensor, Tensor]:
    """float32 (R, V) → int64 tokens (r, N) and the totals (r,) of the weights they were drawn from.

    `index_r` says which rows are meant (None: all of them); `maxima_r` are their largest logits, which are finite.
    """
    logits_rV = logits_RV if index_r is None else logits_RV[index_r]
    cumulative_rV = kept_weights(logits_rV, maxima_r, scales_r, asked).cumsum(dim=1)
    totals_r = cumulative_rV[:, -1]
    goals = [
        [draw * total // SHARES for draw in draws]
        for draws, total in zip(draws_rN.tolist(), totals_r.tolist(), strict=True)
    ]
    goals_rN = torch.tensor(goals, dtype=torch.int64, device=logits_RV.device).view(draws_rN.shape)
    return torch.searchsorted(cumulative_rV, goals_rN, right=True), totals_r


def cases(seed: int, dtype: torch.dtype) -> Iterator[Case]:
    generator = torch.Generator().manual_seed(seed)
    for width, spread in ((7, 1.0), (1500, 3.0), (5000, 12.0)):
        logits_RV = torch.randn(6, width, generator=generator) * spread
        asked = Truncation.of((0.0, 0.0, 0.05, 0.0, 0.01), (0, 5, 0, 0, 90), (1.0, 1.0, 1.0, 0.9, 0.7))
        index_r = torch.tensor([5, 0, 2, 1, 1])
        yield {
            "logits_RV": logits_RV,
            "index_r": index_r,
            "maxima_r": logits_RV[index_r].amax(dim=1),
            "scales_r": logit_scales((1.0, 0.7, 1.0, 2.0, 1.3)),
            "asked": asked,
            "draws_rN": torch.randint(0, SHARES, (5, 3), generator=generator),
        }


draw_tokens = Op("draw_tokens", reference, cases)
