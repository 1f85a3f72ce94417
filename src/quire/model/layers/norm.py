"""Normalisation layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from quire.model import ops
from quire.model.layers.layer import Layer


class RMSNorm(Layer):
    """x / rms(x) · (weight + offset) over the last dimension; Gemma's weights want `offset` 1."""

    def __init__(self, width: int, eps: float, *, offset: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width), requires_grad=False)
        self.eps = eps
        self.offset = offset

    def forward(self, x: Tensor) -> Tensor:
        return ops.rms_norm(x, self.weight, self.eps, self.offset)


def head_norms(query: RMSNorm, key: RMSNorm) -> ops.HeadNorms:
    """The norms of query and key heads as `rope_kv_write` takes them; they differ in their weights alone."""
    assert (query.eps, query.offset) == (key.eps, key.offset)
    return ops.HeadNorms(query.weight, key.weight, query.eps, query.offset)


class LayerNorm(Layer):
    """Mean and variance normalisation over the last dimension, with weight and, as a rule, bias."""

    def __init__(self, width: int, eps: float, *, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width), requires_grad=False)
        self.bias = nn.Parameter(torch.empty(width), requires_grad=False) if bias else None
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return ops.layer_norm(x, self.weight, self.bias, self.eps)
