"""add on the CPU."""

from __future__ import annotations

from torch import Tensor

from quire.model.kernels.cpu import native
from quire.model.kernels.cpu.pointwise import ADD, pointwise

supported = native.refusal
variant = native.chosen


def run(x_TD: Tensor, y_TD: Tensor) -> Tensor:
    return pointwise(ADD, x_TD, y_TD)
