"""soft_cap on the CPU."""

from __future__ import annotations

from torch import Tensor

from quire.model.kernels.cpu import native
from quire.model.kernels.cpu.pointwise import SOFT_CAP, pointwise

supported = native.refusal
variant = native.chosen


def run(x: Tensor, cap: float) -> Tensor:
    return pointwise(SOFT_CAP, x, number=cap)
