"""Finding the largest values of rows, exactly: falling order, equal values by lowest id.

Only comparisons happen here, so results are bitwise the same for a row alone and in any batch.
Shapes: r rows of this call, V vocabulary, C most candidates in a row, B blocks of a row, M looked at.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_LEADING_BLOCK = 32


class Marked(NamedTuple):
    """A few tokens of each row, ids rising; places that are not real are padding with id 0."""

    ids_rC: Tensor
    is_real_rC: Tensor


class Candidates(NamedTuple):
    """A few tokens of each row, best first; places that are not real are padding (value -inf, id 0)."""

    values_rC: Tensor
    ids_rC: Tensor
    is_real_rC: Tensor


def block_maxima(values_rV: Tensor, block: int) -> Tensor:
    """Largest value of each run of `block` ids, (r, B); the last run may be shorter."""
    num_rows, size = values_rV.shape
    num_full = size // block
    maxima_rB = values_rV[:, : num_full * block].view(num_rows, num_full, block).amax(dim=2)
    rest = values_rV[:, num_full * block :]
    return torch.cat([maxima_rB, rest.amax(dim=1, keepdim=True)], dim=1) if rest.shape[1] else maxima_rB


def leading(values_rV: Tensor, num_leading: int) -> tuple[Tensor, Tensor]:
    """The `num_leading` largest values of each row with their ids, both (r, num_leading), best first."""
    if num_leading >= values_rV.shape[1]:
        ordered = torch.sort(values_rV, dim=1, descending=True, stable=True)
        return ordered.values, ordered.indices
    found = in_order(values_rV, leading_marked(values_rV, num_leading))
    return found.values_rC[:, :num_leading], found.ids_rC[:, :num_leading]


def leading_marked(values_rV: Tensor, num_leading: int) -> Marked:
    """At least the `num_leading` largest values of each row, and seldom many more."""
    size = values_rV.shape[1]
    if size < 2 * num_leading * _LEADING_BLOCK:
        return marked(values_rV >= values_rV.topk(num_leading, dim=1).values[:, -1:])
    # The k-th largest block maximum is no larger than the k-th largest value: a safe bound, and only the
    # blocks that reach it need be looked at.
    maxima_rB = block_maxima(values_rV, _LEADING_BLOCK)
    bound_r1 = maxima_rB.topk(num_leading, dim=1).values[:, -1:]
    blocks = marked(maxima_rB >= bound_r1)
    inner = torch.arange(_LEADING_BLOCK, device=values_rV.device)
    ids_rM = (blocks.ids_rC[:, :, None] * _LEADING_BLOCK + inner).flatten(1)
    is_real_rM = blocks.is_real_rC.repeat_interleave(_LEADING_BLOCK, dim=1) & (ids_rM < size)
    ids_rM.clamp_(max=size - 1)
    found = marked((values_rV.gather(1, ids_rM) >= bound_r1) & is_real_rM)
    return Marked(ids_rM.gather(1, found.ids_rC), found.is_real_rC)


def marked(mark_rV: Tensor) -> Marked:
    """The marked ids of each row, side by side."""
    num_rows = mark_rV.shape[0]
    row_M, id_M = mark_rV.nonzero(as_tuple=True)  # row by row, ids rising
    counts_r = torch.bincount(row_M, minlength=num_rows)
    width = int(counts_r.max())
    place_M = torch.arange(row_M.shape[0], device=row_M.device) - (counts_r.cumsum(0) - counts_r)[row_M]
    ids_rC = id_M.new_zeros((num_rows, width))
    ids_rC[row_M, place_M] = id_M
    return Marked(ids_rC, torch.arange(width, device=row_M.device) < counts_r[:, None])


def in_order(values_rV: Tensor, found: Marked) -> Candidates:
    """The marked tokens of each row, best first."""
    values_rC = values_rV.gather(1, found.ids_rC).masked_fill_(~found.is_real_rC, -torch.inf)
    # Stable: equal values stay in rising id order, and padding stays behind real values of -inf.
    ordered = torch.sort(values_rC, dim=1, descending=True, stable=True)
    return Candidates(ordered.values, found.ids_rC.gather(1, ordered.indices), found.is_real_rC)
