"""embedding: rows of a plain table, picked by index."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from quire.model.ops.contract import Case, Op


def reference(table_VD: Tensor, index_T: Tensor, first: int = 0) -> Tensor:
    """Row `first` + index for each int64 index, (T, D). The caller answers for indices within the table."""
    return F.embedding(index_T + first if first else index_T, table_VD)


def cases(seed: int, dtype: torch.dtype) -> Iterator[Case]:
    generator = torch.Generator().manual_seed(seed)
    for rows, width, first in ((1, 64, 0), (7, 33, 2), (64, 256, 0)):
        yield {
            "table_VD": torch.randn(50, width, generator=generator).to(dtype),
            "index_T": torch.randint(0, 50 - first, (rows,), generator=generator),
            "first": first,
        }


embedding = Op("embedding", reference, cases)
