"""scale on the CPU."""

from __future__ import annotations

from torch import Tensor

from quire.model.kernels.cpu import native
from quire.model.kernels.cpu.pointwise import SCALE, pointwise

supported = native.refusal
variant = native.chosen


def run(x_TD: Tensor, factor: float) -> Tensor:
    return pointwise(SCALE, x_TD, number=factor)
