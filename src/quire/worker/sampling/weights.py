"""Drawing from softmax(logits / temperature) in whole numbers.

A token's weight is floor(2**40 * exp((logit - max) / temperature)), an integer; the likeliest token weighs
2**40. Integer sums are exact in any order, so totals, cumulative sums and draws are bitwise the same
whatever the batch, the number of threads or the vectorisation; only exp works in floating point, and
element by element. A token less than 2**-40 (1e-12) times as likely as the best weighs nothing.
Shapes: r rows of this call, V vocabulary, C columns, N draws per row.
"""

from __future__ import annotations

import torch
from torch import Tensor

from quire.worker.sampling.randomness import DRAW_BITS

ONE = 2**40  # the weight of a row's likeliest token; 2**22 such tokens still sum below 2**63


def scaled_logits(logits_rV: Tensor, maxima_r: Tensor, temperatures_r: Tensor) -> Tensor:
    """(logit - max) / temperature: float32, at most 0."""
    return (logits_rV - maxima_r[:, None]).div_(temperatures_r[:, None])


def whole_weights(scaled_rV: Tensor) -> Tensor:
    """int64 weights (r, V) of scaled logits."""
    return scaled_rV.exp().mul_(float(ONE)).to(torch.int64)


def draw_tokens(weights_rC: Tensor, draws: list[list[int]], ids_rC: Tensor | None) -> list[list[int]]:
    """Inverse-CDF in token id order: the first id whose cumulative weight exceeds draw / 2**53 of the total.

    `draws` holds each row's 53-bit draws; the answer has the same shape. `ids_rC`, rising, names the
    columns; None when a column is its id.
    """
    cumulative_rC = weights_rC.cumsum(dim=1)
    totals: list[int] = cumulative_rC[:, -1].tolist()
    most = max(len(row) for row in draws)
    goals = [
        [(draw * total) >> DRAW_BITS for draw in row] + [0] * (most - len(row))
        for row, total in zip(draws, totals, strict=True)
    ]
    goals_rN = torch.tensor(goals, dtype=torch.int64, device=weights_rC.device)
    columns_rN = torch.searchsorted(cumulative_rC, goals_rN, right=True)
    ids = (columns_rN if ids_rC is None else ids_rC.gather(1, columns_rN)).tolist()
    return [found[: len(row)] for found, row in zip(ids, draws, strict=True)]
