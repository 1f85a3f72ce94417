"""Log-probabilities of chosen and of leading tokens, without writing out a log-softmax over the vocabulary.

log p = logit - max - log(sum of exp(logit - max)), the sum taken in whole numbers (see draw_tokens), so it
is the same to the bit whatever the batch. Shapes: r rows of this call, V vocabulary, K leading tokens.
"""

from __future__ import annotations

import math
from bisect import bisect_left

import torch
from torch import Tensor

from quire.base.messages import PositionLogprobs
from quire.model import ops
from quire.model.ops import FULL_WEIGHT, Truncation, logit_scales
from quire.worker.sampling.ordering import leading


def position_logprobs(
    values_rV: Tensor,
    token_ids: list[list[int]],
    num_leading: list[int],
    listed: list[list[int]],
    *,
    normalise: bool,
) -> list[list[PositionLogprobs]]:
    """One answer per row and chosen token, of (r, V) logits whose rows each have a finite maximum.

    `token_ids` are each row's chosen tokens, `num_leading` how many leading ones follow each (-1: all), `listed`
    which tokens are told in any case.
    Without `normalise` the logits themselves are given. A rank is 1 + the number of tokens above.
    """
    normalisers = _log_normalisers(values_rV) if normalise else [0.0] * len(token_ids)
    size = values_rV.shape[1]
    wanted = [size if number < 0 else min(number, size) for number in num_leading]
    leading_values: list[list[float]] = [[] for _ in wanted]
    leading_ids: list[list[int]] = [[] for _ in wanted]
    if max(wanted) > 0:
        values_rK, ids_rK = leading(values_rV, max(wanted))
        leading_values, leading_ids = values_rK.tolist(), ids_rK.tolist()

    wanted_ids = [chosen + named for chosen, named in zip(token_ids, listed, strict=True)]
    most = max(map(len, wanted_ids))
    padded = [ids + [0] * (most - len(ids)) for ids in wanted_ids]
    values = values_rV.gather(1, torch.tensor(padded, device=values_rV.device)).tolist()
    answers = []
    for row, chosen in enumerate(token_ids):
        number, normaliser = wanted[row], normalisers[row]
        top = [value - normaliser for value in leading_values[row][:number]]
        ids = leading_ids[row][:number] + listed[row]
        named = values[row][len(chosen) : len(wanted_ids[row])]
        top += [value - normaliser for value in named]
        ranks = {v: _rank(v, leading_values[row], values_rV[row]) for v in set(values[row][: len(chosen)])}
        answers.append(
            [
                PositionLogprobs([token_id, *ids], [value - normaliser, *top], ranks[value], len(named))
                for token_id, value in zip(chosen, values[row], strict=False)
            ]
        )
    return answers


def _rank(value: float, leading_values: list[float], row_V: Tensor) -> int:
    """1 + the number of larger logits; the whole row is read only when the leading ones cannot tell."""
    if leading_values and value >= leading_values[-1]:
        return 1 + bisect_left(leading_values, -value, key=lambda leading_value: -leading_value)
    return 1 + int((row_V > value).sum())


def _log_normalisers(values_rV: Tensor) -> list[float]:
    """log(sum of exp(logit)) of each row, in float64."""
    num_rows = len(values_rV)
    maxima_r, _ = ops.first_largest(values_rV)
    scales_r = logit_scales([1.0] * num_rows).to(values_rV.device)
    nothing = Truncation.of([0.0] * num_rows, [0] * num_rows, [1.0] * num_rows)
    no_draws = torch.empty((num_rows, 0), dtype=torch.int64, device=values_rV.device)
    _, totals_r = ops.draw_tokens(values_rV, None, maxima_r, scales_r, nothing, no_draws)
    pairs = zip(maxima_r.tolist(), totals_r.tolist(), strict=True)
    return [maximum + math.log(total / FULL_WEIGHT) for maximum, total in pairs]
