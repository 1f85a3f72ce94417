"""angles: cosines and sines for rope, of position · frequency in float32."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from quire.model.ops.contract import Case, Op


def reference(
    positions_T: Tensor, frequencies_R: Tensor, magnitude: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """int64 positions and float32 frequencies → (cos, sin), each (T, R) in `dtype` and times `magnitude`."""
    angles_TR = positions_T.unsqueeze(-1).float() * frequencies_R
    return (angles_TR.cos() * magnitude).to(dtype), (angles_TR.sin() * magnitude).to(dtype)


def cases(seed: int, dtype: torch.dtype) -> Iterator[Case]:
    generator = torch.Generator().manual_seed(seed)
    for tokens, half, magnitude in ((1, 64, 1.0), (9, 5, 1.25), (64, 32, 1.0)):
        yield {
            "positions_T": torch.randint(0, 40000, (tokens,), generator=generator),
            "frequencies_R": 10000.0 ** -(torch.arange(half) / half),
            "magnitude": magnitude,
            "dtype": dtype,
        }


angles = Op("angles", reference, cases)
