"""Weights for measuring without a checkpoint: small, deterministic, filled at memory speed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from quire.model.loading.place import place

PATTERN_ELEMENTS = 1 << 20
SPREAD = 0.02  # standard deviation, that of a freshly initialised network


def fill_dummy(
    network: nn.Module, dtype: torch.dtype, report: Callable[[int, int], None], scheme: str = ""
) -> None:
    """Matrices repeat one block of normal numbers, each from another place in it; vectors are all ones for
    weights and zeros for biases."""
    generator = torch.Generator().manual_seed(0)
    pattern = (torch.randn(PATTERN_ELEMENTS, generator=generator) * SPREAD).to(dtype)
    parameters = dict(network.named_parameters())
    total_bytes = sum(parameter.numel() * dtype.itemsize for parameter in parameters.values())
    done_bytes = 0
    for index, (name, parameter) in enumerate(parameters.items()):
        value = torch.empty(parameter.shape, dtype=dtype)
        if value.dim() == 1:
            value.fill_(0.0 if name.endswith("bias") else 1.0)
        else:
            _repeat(value.view(-1), pattern, index * 7919)
        place(network, name, value, scheme)
        done_bytes += value.numel() * dtype.itemsize
        report(done_bytes, total_bytes)


def _repeat(flat: Tensor, pattern: Tensor, offset: int) -> None:
    block = pattern.roll(offset % len(pattern))
    whole = len(flat) // len(block) * len(block)
    flat[:whole].view(-1, len(block)).copy_(block.expand(whole // len(block), -1))
    flat[whole:].copy_(block[: len(flat) - whole])
