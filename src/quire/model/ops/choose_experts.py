"""choose_experts: which experts each row goes to, and with what weights, from the router's logits.

The highest logits are chosen: softmax and sigmoid keep their order. So the choice has no roundings of its own, and
every provider makes the same one.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from quire.model.ops.contract import Case, Op


def reference(
    logits_TE: Tensor, count: int, scoring: str = "softmax", renormalises: bool = False
) -> tuple[Tensor, Tensor]:
    """(T, E) in float32 → weights (T, count) in float32 and experts (T, count) in int64, 1 ≤ count ≤ E.

    The highest comes first, the lower expert of equals, and NaN before all numbers. Weights are the softmax over all
    experts or the sigmoid of each; with `renormalises` over their sum, so that a row's add up to 1.
    """
    highest_TE, experts_TE = torch.sort(logits_TE, dim=-1, descending=True, stable=True)
    chosen_TC, experts_TC = highest_TE[:, :count], experts_TE[:, :count]
    if scoring == "sigmoid":
        weights_TC = chosen_TC.sigmoid()
    else:
        exponentials_TE = (highest_TE - highest_TE[:, :1]).exp()
        weights_TC = exponentials_TE[:, :count]
        if not renormalises:
            weights_TC = weights_TC / exponentials_TE.sum(-1, keepdim=True)
    return weights_TC / weights_TC.sum(-1, keepdim=True) if renormalises else weights_TC, experts_TC


def cases(seed: int, dtype: torch.dtype) -> Iterator[Case]:
    generator = torch.Generator().manual_seed(seed)
    for rows, experts, count in ((1, 8, 2), (7, 61, 8), (40, 128, 1), (3, 4, 4)):
        logits_TE = torch.randn(rows, experts, generator=generator).round(decimals=1)  # with equals
        for scoring in ("softmax", "sigmoid"):
            for renormalises in (False, True):
                yield {
                    "logits_TE": logits_TE,
                    "count": count,
                    "scoring": scoring,
                    "renormalises": renormalises,
                }


choose_experts = Op("choose_experts", reference, cases)
