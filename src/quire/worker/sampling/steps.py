"""What a request does to its logits before a token is chosen: its parameters, compiled to a list of steps.

A step changes one row in place and touches only the tokens it concerns; a request that asks for nothing
compiles to no steps and costs nothing. The order is vLLM's: allowed tokens, bad words, minimum length,
bias, penalties; a grammar comes last.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from quire.base.errors import InvalidValue
from quire.base.messages import SequenceStart
from quire.model.ops import keep_allowed
from quire.worker.grammar import GrammarProgress
from quire.worker.sampling.penalties import Penalties


class Step(Protocol):
    """`is_due` says whether the step would change anything now; `apply` changes the row (V,) in place."""

    def is_due(self, output_ids: list[int]) -> bool: ...

    def apply(self, row_V: Tensor, output_ids: list[int]) -> None: ...


def compile_steps(start: SequenceStart, vocab_size: int) -> list[Step]:
    """The steps of one sequence, in the order they apply. Raises InvalidValue for ids outside the vocabulary."""
    sampling = start.sampling
    _check_ids("allowed_token_ids", sampling.allowed_token_ids or [], vocab_size)
    _check_ids("bad_words", [token_id for word in start.bad_words_token_ids for token_id in word], vocab_size)
    _check_ids("logit_bias", sampling.logit_bias or {}, vocab_size)
    steps: list[Step] = []
    if sampling.allowed_token_ids is not None:
        steps.append(AllowedTokens(sampling.allowed_token_ids, vocab_size))
    if start.bad_words_token_ids:
        steps.append(BadWords(start.bad_words_token_ids))
    if sampling.min_tokens > 0:
        stop_ids = {*start.eos_token_ids, *(sampling.stop_token_ids or [])}
        # A stop token outside the model's vocabulary cannot be sampled, so there is nothing to mask.
        steps.append(MinTokens(sampling.min_tokens, sorted(i for i in stop_ids if 0 <= i < vocab_size)))
    if sampling.logit_bias:
        steps.append(LogitBias(sampling.logit_bias))
    penalties = Penalties.compile(start)
    if penalties is not None:
        steps.append(penalties)
    return steps


def _check_ids(name: str, token_ids: Iterable[int], vocab_size: int) -> None:
    for token_id in token_ids:
        if not 0 <= token_id < vocab_size:
            raise InvalidValue(f"{name} must name tokens 0 … {vocab_size - 1}, got {token_id}", field=name)


class AllowedTokens:
    """Only the listed tokens keep their logits."""

    def __init__(self, token_ids: list[int], vocab_size: int) -> None:
        is_allowed = np.zeros(-(-vocab_size // 32) * 32, dtype=bool)
        is_allowed[token_ids] = True
        self._words = torch.from_numpy(np.packbits(is_allowed, bitorder="little").view("<i4"))

    def is_due(self, output_ids: list[int]) -> bool:
        return True

    def apply(self, row_V: Tensor, output_ids: list[int]) -> None:
        keep_allowed(row_V[None], self._words[None])


class BadWords:
    """Bans the last token of each word whose earlier tokens are the newest outputs (vLLM looks no further)."""

    def __init__(self, words: list[list[int]]) -> None:
        self._always = sorted({word[0] for word in words if len(word) == 1})
        self._after_prefix = [(word[:-1], word[-1]) for word in words if len(word) > 1]

    def is_due(self, output_ids: list[int]) -> bool:
        return bool(self._banned(output_ids))

    def apply(self, row_V: Tensor, output_ids: list[int]) -> None:
        row_V[torch.tensor(self._banned(output_ids), device=row_V.device)] = -torch.inf

    def _banned(self, output_ids: list[int]) -> list[int]:
        matched = [last for prefix, last in self._after_prefix if output_ids[-len(prefix) :] == prefix]
        return self._always + matched


class MinTokens:
    """Stop tokens cannot be chosen before `min_tokens` outputs exist."""

    def __init__(self, min_tokens: int, stop_token_ids: list[int]) -> None:
        self._min_tokens = min_tokens
        self._ids = torch.tensor(stop_token_ids, dtype=torch.int64)

    def is_due(self, output_ids: list[int]) -> bool:
        return len(output_ids) < self._min_tokens and self._ids.numel() > 0

    def apply(self, row_V: Tensor, output_ids: list[int]) -> None:
        row_V[self._ids.to(row_V.device)] = -torch.inf


class LogitBias:
    """Adds a number to the logits of some tokens."""

    def __init__(self, biases: dict[int, float]) -> None:
        self._ids = torch.tensor(list(biases), dtype=torch.int64)
        self._biases = torch.tensor(list(biases.values()), dtype=torch.float64).to(torch.float32)

    def is_due(self, output_ids: list[int]) -> bool:
        return True

    def apply(self, row_V: Tensor, output_ids: list[int]) -> None:
        row_V[self._ids.to(row_V.device)] += self._biases.to(row_V.device)


class GrammarMask:
    """Only what the grammar allows next keeps its logits. Who would end while reasoning ends the reasoning."""

    def __init__(self, progress: GrammarProgress) -> None:
        self._progress = progress

    def is_due(self, output_ids: list[int]) -> bool:
        return True

    def allows(self, token_id: int) -> bool:
        return self._progress.allows(token_id)

    @property
    def trades_end(self) -> bool:
        """Whether, while the model reasons, how much it wants to end counts for the token that ends the reasoning."""
        return self._progress.instead_of_end is not None

    def apply(self, row_V: Tensor, output_ids: list[int]) -> None:
        instead = self._progress.instead_of_end
        if instead is not None:
            row_V[instead] = torch.maximum(row_V[instead], row_V[self._progress.end_ids].max())
        keep_allowed(row_V[None], torch.from_numpy(self._progress.mask())[None])
