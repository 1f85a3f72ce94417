"""first_largest: each row's largest number and the lowest index that has it, exactly; a row with NaN gives NaN."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from quire.model.ops.contract import Case, Op


def reference(values_RV: Tensor) -> tuple[Tensor, Tensor]:
    """(R, V), V at least 1 → values (R,) in the same dtype and int64 indices (R,)."""
    index_R = values_RV.argmax(dim=1)
    return values_RV.gather(1, index_R[:, None])[:, 0], index_R


def cases(seed: int, dtype: torch.dtype) -> Iterator[Case]:
    generator = torch.Generator().manual_seed(seed)
    for rows, width in ((1, 5), (7, 1024), (3, 5000)):
        yield {"values_RV": torch.randint(-99, 99, (rows, width), generator=generator).to(dtype)}


first_largest = Op("first_largest", reference, cases)
