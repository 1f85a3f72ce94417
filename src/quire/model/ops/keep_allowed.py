"""keep_allowed: only the logits of allowed tokens stay, the others become -inf. One bit per token says which."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from quire.model.ops.contract import Case, Op


def reference(logits_V: Tensor, words_W: Tensor) -> Tensor:
    """Changes `logits_V` in place and returns it. Bit t % 32 of int32 word t // 32 is token t; 32 · W >= V."""
    bits_W32 = words_W.to(logits_V.device)[:, None] >> torch.arange(32, device=logits_V.device)
    is_banned_V = (bits_W32 & 1).view(-1)[: len(logits_V)] == 0
    return logits_V.masked_fill_(is_banned_V, -torch.inf)


def cases(seed: int, dtype: torch.dtype) -> Iterator[Case]:
    generator = torch.Generator().manual_seed(seed)
    for size in (1, 31, 32, 97, 1000):
        words = torch.randint(-(2**31), 2**31, ((size + 31) // 32,), generator=generator).to(torch.int32)
        words[::3], words[1::3] = -1, 0  # words that are all ones, and all zeros, have ways of their own
        if size == 97:
            words[0] = 12345
        yield {"logits_V": torch.randn(size, generator=generator).to(dtype), "words_W": words}


keep_allowed = Op("keep_allowed", reference, cases)
