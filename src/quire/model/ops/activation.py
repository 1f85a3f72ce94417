"""activation: the pointwise non-linearity of an MLP, by its configuration name, gated or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from quire.model.ops.contract import Case, Op


def _gelu_tanh(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": F.silu,
    "swish": F.silu,
    "gelu": F.gelu,
    "gelu_new": _gelu_tanh,
    "gelu_fast": _gelu_tanh,
    "gelu_pytorch_tanh": _gelu_tanh,
    "relu": F.relu,
    "tanh": torch.tanh,
}


def reference(x_TI: Tensor, kind: str, gated: bool = False) -> Tensor:
    """`kind` is a key of FUNCTIONS. Gated: the first half of each row passes the function and is multiplied
    by the second half, (T, 2·I) → (T, I)."""
    if not gated:
        return FUNCTIONS[kind](x_TI)
    gate, up = x_TI.chunk(2, dim=-1)
    return FUNCTIONS[kind](gate) * up


def cases(seed: int, dtype: torch.dtype) -> Iterator[Case]:
    generator = torch.Generator().manual_seed(seed)
    for kind in FUNCTIONS:
        for gated in (False, True):
            yield {"x_TI": torch.randn(5, 46, generator=generator).to(dtype), "kind": kind, "gated": gated}


activation = Op("activation", reference, cases)
