"""Weighing a chunk's tokens under min_p, top_k and top_p: batched, exact, without sorting whole rows.

top_k and top_p are one question: the shortest run of tokens, likeliest first (equal logits by lowest id),
whose amounts reach a goal. For top_k every token amounts to 1 and the goal is k; for top_p a token amounts
to its weight and the goal is top_p of the total, rounded up. A histogram over fixed levels of the scaled
logit finds the level where the goal is reached; only that level is sorted:

    scaled logit    0 ........ -1/32 ........ -2/32 ........ -3/32 ...
    level           |    0       |      1       |      2       |
    cumulative      |   kept     | goal reached |   dropped    |   dropped
                                   (sort this one)

All amounts are integers, so the outcome is exact and does not depend on the batch. Where a cheap bound
leaves few tokens in the running, the rest of the work is done on those few: `Pool` holds them.
Shapes: r rows of this call, V vocabulary, C tokens in the running, L levels, M dropped tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from quire.worker.sampling.ordering import in_order, leading_marked, marked
from quire.worker.sampling.weights import ONE, scaled_logits, whole_weights

_LEVELS_PER_NAT = 32
_NUM_LEVELS = 28 * _LEVELS_PER_NAT  # weights end at 40 ln 2 = 27.7 nats below the best
_WORTH_NARROWING = 16  # narrow when no row keeps more than one token in so many


@dataclass(frozen=True, slots=True)
class Truncation:
    """What each row of a chunk asks for. Off means min_p 0.0, top_k 0, top_p 1.0."""

    min_p: Sequence[float]
    top_k: Sequence[int]
    top_p: Sequence[float]


@dataclass(frozen=True, slots=True)
class Pool:
    """The tokens of each row still in the running, by rising id; `ids_rC` None: all V of them.

    Scaled logits are as in weights.py. A token that was excluded, and padding, weighs 0.
    """

    scaled_rC: Tensor
    weights_rC: Tensor
    ids_rC: Tensor | None = None

    def narrowed(self, mark_rC: Tensor) -> Pool:
        """Only the marked tokens; a pool is narrowed once."""
        found = marked(mark_rC)
        weights_rC = self.weights_rC.gather(1, found.ids_rC).mul_(found.is_real_rC)
        return Pool(self.scaled_rC.gather(1, found.ids_rC), weights_rC, found.ids_rC)

    def kept_mask(self, vocab_size: int) -> Tensor:
        """Which of the vocabulary's tokens have weight, bool (r, V)."""
        kept_rC = self.weights_rC > 0
        if self.ids_rC is None:
            return kept_rC
        counts_rV = kept_rC.new_zeros((kept_rC.shape[0], vocab_size), dtype=torch.int64)
        return counts_rV.scatter_add_(1, self.ids_rC, kept_rC.to(torch.int64)) > 0


def weigh(logits_rV: Tensor, maxima_r: Tensor, temperatures_r: Tensor, asked: Truncation | None) -> Pool:
    """The tokens that can be drawn, with their weights: min_p, then top_k, then top_p exclude the others.

    Tokens without weight are never counted among the top_k.
    """
    if asked is not None and all(asked.top_k) and is_worth_narrowing(max(asked.top_k), logits_rV.shape[1]):
        found = leading_marked(logits_rV, max(asked.top_k))
        scaled_rC = scaled_logits(logits_rV.gather(1, found.ids_rC), maxima_r, temperatures_r)
        pool = Pool(scaled_rC, whole_weights(scaled_rC).mul_(found.is_real_rC), found.ids_rC)
    else:
        scaled_rV = scaled_logits(logits_rV, maxima_r, temperatures_r)
        pool = Pool(scaled_rV, whole_weights(scaled_rV))
    if asked is None:
        return pool
    if any(asked.min_p):
        floors_r = pool.weights_rC.new_tensor([_share(share, ONE) for share in asked.min_p])
        pool.weights_rC.mul_(pool.weights_rC >= floors_r[:, None])
    if any(asked.top_k):
        goals_r = pool.weights_rC.new_tensor([k or logits_rV.shape[1] for k in asked.top_k])
        _keep_leading(pool, (pool.weights_rC > 0).to(torch.int64), goals_r)
    return _apply_top_p(pool, asked.top_p) if min(asked.top_p) < 1.0 else pool


def _apply_top_p(pool: Pool, top_p: Sequence[float]) -> Pool:
    totals_r = pool.weights_rC.sum(dim=1)
    goals = [_share(share, total) for share, total in zip(top_p, totals_r.tolist(), strict=True)]
    goals_r = totals_r.new_tensor(goals)
    if pool.ids_rC is None:
        # Tokens lighter than (total - goal) / V together weigh less than total - goal: the goal is
        # reached before any of them.
        floors_r = (totals_r - goals_r) // pool.weights_rC.shape[1]
        mark_rC = pool.weights_rC >= floors_r[:, None].clamp_(min=1)
        if is_worth_narrowing(int(mark_rC.sum(dim=1).max()), mark_rC.shape[1]):
            pool = pool.narrowed(mark_rC)
    _keep_leading(pool, pool.weights_rC, goals_r)
    return pool


def is_worth_narrowing(num_kept: int, vocab_size: int) -> bool:
    """Whether going on with a pool of `num_kept` tokens saves more than making it costs."""
    return num_kept * _WORTH_NARROWING <= vocab_size


def _share(share: float, whole: int) -> int:
    """share * whole rounded up, in exact arithmetic."""
    numerator, denominator = share.as_integer_ratio()
    return -(-numerator * whole // denominator)


def _keep_leading(pool: Pool, amounts_rC: Tensor, goals_r: Tensor) -> None:
    """Zero, in place, the weights behind the shortest leading run whose amounts reach the row's goal."""
    scaled_rC, goals_r1 = pool.scaled_rC, goals_r[:, None]
    levels_rC = (scaled_rC * -_LEVELS_PER_NAT).clamp_(max=_NUM_LEVELS - 1).to(torch.int64)
    # Place 0 stays empty, so place b holds what lies before level b.
    before_rL = goals_r.new_zeros((goals_r.shape[0], _NUM_LEVELS + 1))
    before_rL[:, 1:].scatter_add_(1, levels_rC, amounts_rC)
    before_rL = before_rL.cumsum(dim=1)
    boundary_r1 = (before_rL[:, 1:] < goals_r1).sum(dim=1, keepdim=True)

    found = in_order(scaled_rC, marked(levels_rC == boundary_r1))
    amounts_found = amounts_rC.gather(1, found.ids_rC)
    reached = before_rL.gather(1, boundary_r1) + amounts_found.cumsum(dim=1) - amounts_found
    row_M, place_M = ((reached >= goals_r1) & found.is_real_rC).nonzero(as_tuple=True)
    pool.weights_rC.mul_(levels_rC <= boundary_r1)
    pool.weights_rC[row_M, found.ids_rC[row_M, place_M]] = 0
