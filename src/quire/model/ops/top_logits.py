"""top_logits: the highest results of a linear and the outputs that have them, for an output head of many outputs.

The results themselves need not be written anywhere: a greedy step wants one of 150,000 numbers for each row.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from quire.model.kernels import Prepared
from quire.model.ops.contract import Case, Op
from quire.model.ops.linear import reference as linear_reference
from quire.model.ops.linear_int8 import Int8Weight
from quire.model.ops.linear_int8 import reference as linear_int8_reference


def reference(
    x_MK: Tensor, weight_NK: Tensor | Prepared, bias_N: Tensor | None = None, count: int = 1
) -> tuple[Tensor, Tensor]:
    """(M, K) x (N, K) → values (M, count) in float32 and their outputs (M, count) in int64, 1 ≤ count ≤ N.

    Values are those of linear, or linear_int8 for a weight rounded so, with `out_dtype` float32. The highest comes
    first, the lower output of equals, and NaN before all numbers.
    """
    project = linear_int8_reference if isinstance(weight_NK, Int8Weight) else linear_reference
    logits_MN = project(x_MK, weight_NK, bias_N, torch.float32)
    values_MN, outputs_MN = torch.sort(logits_MN, dim=-1, descending=True, stable=True)
    return values_MN[:, :count], outputs_MN[:, :count]


def cases(seed: int, dtype: torch.dtype) -> Iterator[Case]:
    generator = torch.Generator().manual_seed(seed)
    for rows, inner, outer, count in ((1, 64, 48, 1), (7, 33, 700, 5), (40, 64, 17, 17)):
        yield {
            "x_MK": torch.randn(rows, inner, generator=generator).to(dtype),
            "weight_NK": (torch.randn(outer, inner, generator=generator) * inner**-0.5).to(dtype),
            "count": count,
        }


top_logits = Op("top_logits", reference, cases)
