"""keep_allowed: only the logits of allowed tokens stay, the others become -inf. One bit per token says which."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from quire.model.ops.contract import Case, Op


def reference(logits_rV: Tensor, words_rW: Tensor) -> Tensor:
    """Changes the rows of `logits_rV` in place and returns them. Bit t % 32 of int32 word t // 32 of a row is token
    t; 32 · W >= V."""
    bits_rW32 = words_rW.to(logits_rV.device)[:, :, None] >> torch.arange(32, device=logits_rV.device)
    is_banned_rV = (bits_rW32 & 1).flatten(1)[:, : logits_rV.shape[1]] == 0
    return logits_rV.masked_fill_(is_banned_rV, -torch.inf)


def cases(seed: int, dtype: torch.dtype) -> Iterator[Case]:
    generator = torch.Generator().manual_seed(seed)
    for rows, size in ((1, 1), (2, 31), (3, 32), (1, 97), (5, 97), (2, 1000), (4, 1024)):
        words = torch.randint(-(2**31), 2**31, (rows, (size + 31) // 32), generator=generator).to(torch.int32)
        words[:, ::3], words[:, 1::3] = (
            -1,
            0,
        )  # words that are all ones, and all zeros, have ways of their own
        if size == 97:
            words[:, 0] = 12345
        yield {"logits_rV": torch.randn(rows, size, generator=generator).to(dtype), "words_rW": words}


keep_allowed = Op("keep_allowed", reference, cases)
