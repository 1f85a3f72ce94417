"""penalise: less, or more, of the tokens that a sequence has seen.

vLLM's formulas, in its order (x the logit, c how often the token was output): x / repetition if x > 0 else
x * repetition; then x - frequency * c; then x - presence if c > 0. Each product, quotient and difference is rounded
to float32: every provider gives the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from quire.model.ops.contract import Case, Op


def reference(
    row_V: Tensor, ids_N: Tensor, counts_N: Tensor, repetition: float, frequency: float, presence: float
) -> Tensor:
    """Changes the logits `row_V` of the tokens `ids_N` in place and returns them all. The int64 ids are distinct, and
    those outside the vocabulary are passed over; float32 `counts_N` are whole numbers from 0."""
    is_here_N = (ids_N >= 0) & (ids_N < len(row_V))
    ids_N, counts_N = ids_N[is_here_N].to(row_V.device), counts_N[is_here_N].to(row_V.device)
    values_N = row_V[ids_N]
    if repetition != 1.0:
        values_N = torch.where(values_N > 0, values_N / repetition, values_N * repetition)
    if frequency != 0.0:
        values_N = values_N - counts_N * frequency
    if presence != 0.0:
        values_N = values_N - (counts_N > 0) * presence
    row_V[ids_N] = values_N.to(row_V.dtype)
    return row_V


def cases(seed: int, dtype: torch.dtype) -> Iterator[Case]:
    generator = torch.Generator().manual_seed(seed)
    for size, number, amounts in (
        (1, 1, (1.3, 0.0, 0.0)),
        (50, 20, (0.7, 0.5, 1.5)),
        (5000, 900, (1.0, -0.3, -2.0)),
    ):
        yield {
            "row_V": torch.randn(size, generator=generator).to(dtype),
            "ids_N": torch.randperm(size + 7, generator=generator)[:number],
            "counts_N": torch.randint(0, 4, (number,), generator=generator).float(),
            **dict(zip(("repetition", "frequency", "presence"), amounts, strict=True)),
        }


penalise = Op("penalise", reference, cases)
