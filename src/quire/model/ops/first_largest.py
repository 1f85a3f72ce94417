"""first_largest: each row's largest number and the lowest index that has it, exactly; a row with NaN gives NaN."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from quire.model.ops.contract import Case, Op


def reference(values_RV: Tensor, index_r: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """(R, V), V at least 1 → values (r,) in the same dtype and int64 places (r,). `index_r` says which rows are meant
    (None: all of them)."""
    values_rV = values_RV if index_r is None else values_RV[index_r]
    place_r = values_rV.argmax(dim=1)
    return values_rV.gather(1, place_r[:, None])[:, 0], place_r


def cases(seed: int, dtype: torch.dtype) -> Iterator[Case]:
    generator = torch.Generator().manual_seed(seed)
    for rows, width in ((1, 5), (7, 1024), (3, 5000)):
        values_RV = torch.randint(-99, 99, (rows, width), generator=generator).to(dtype)
        yield {"values_RV": values_RV}
        yield {"values_RV": values_RV, "index_r": torch.tensor([rows - 1, 0])}


first_largest = Op("first_largest", reference, cases)
