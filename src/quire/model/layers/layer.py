"""Layer: what every part of a network is."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn


class Layer(nn.Module):
    """An nn.Module that returns a tensor when called."""

    __call__: Callable[..., Tensor]
