"""Repetition, frequency and presence penalties over the tokens a sequence has seen, counted as they come."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from quire.base.messages import SequenceStart
from quire.model import ops

_LEAST_ROOM = 64


class Penalties:
    """The penalised tokens of one sequence and how often each was output; grows by `count`.

    Prompt tokens, `seen` before any output, are kept only when the repetition penalty is on.
    """

    def __init__(
        self, repetition: float, frequency: float, presence: float, seen: Iterable[int] = ()
    ) -> None:
        self._amounts = repetition, frequency, presence
        self._place = {token_id: place for place, token_id in enumerate(dict.fromkeys(seen))}
        self._hold(torch.tensor(list(self._place), dtype=torch.int64), torch.zeros(len(self._place)))

    @classmethod
    def compile(cls, start: SequenceStart) -> Penalties | None:
        """None when the sequence asks for no penalty."""
        sampling = start.sampling
        repetition = sampling.repetition_penalty
        if repetition == 1.0 and sampling.frequency_penalty == sampling.presence_penalty == 0.0:
            return None
        seen = start.prompt_token_ids if repetition != 1.0 else []
        penalties = cls(repetition, sampling.frequency_penalty, sampling.presence_penalty, seen)
        for token_id in start.token_ids[start.num_prompt_tokens :]:
            penalties.count(token_id)
        return penalties

    def count(self, token_id: int) -> None:
        """One more output."""
        place = self._place.setdefault(token_id, len(self._place))
        if place == len(self._ids):
            self._hold(self._ids_N, self._counts_N)
        self._ids[place] = token_id
        self._counts[place] += 1.0

    def is_due(self, output_ids: list[int]) -> bool:
        return bool(self._place)

    def apply(self, row_V: Tensor, output_ids: list[int]) -> None:
        number = len(self._place)
        ops.penalise(row_V, self._ids_N[:number], self._counts_N[:number], *self._amounts)

    def _hold(self, ids_N: Tensor, counts_N: Tensor) -> None:
        """Keep these, a place each, with as much room again. Single numbers are read and written ten times faster
        through numpy, in the same memory."""
        room = torch.zeros(max(len(ids_N), _LEAST_ROOM))
        self._ids_N, self._counts_N = torch.cat([ids_N, room.long()]), torch.cat([counts_N, room])
        self._ids, self._counts = self._ids_N.numpy(), self._counts_N.numpy()
