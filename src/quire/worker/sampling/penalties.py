"""Repetition, frequency and presence penalties over the tokens a sequence has seen, counted as they come."""

from __future__ import annotations

import torch
from torch import Tensor

from quire.base.messages import SequenceStart


class Penalties:
    """The penalised tokens of one sequence and how often each was output; grows by `count`.

    Formulas, vLLM's and in its order (x the logit, c the token's count in the outputs):
    repetition p, for tokens of prompt or outputs: x / p if x > 0 else x * p; then x - frequency * c;
    then x - presence if c > 0. Prompt tokens are kept only when the repetition penalty is on.
    """

    def __init__(self, repetition: float, frequency: float, presence: float) -> None:
        self._repetition = repetition
        self._frequency = frequency
        self._presence = presence
        self._place: dict[int, int] = {}  # token id -> its place in the arrays below
        self._ids = torch.zeros(64, dtype=torch.int64)
        self._counts = torch.zeros(64, dtype=torch.float32)

    @classmethod
    def compile(cls, start: SequenceStart) -> Penalties | None:
        """None when the sequence asks for no penalty."""
        sampling = start.sampling
        repetition = sampling.repetition_penalty
        if repetition == 1.0 and sampling.frequency_penalty == sampling.presence_penalty == 0.0:
            return None
        penalties = cls(repetition, sampling.frequency_penalty, sampling.presence_penalty)
        if repetition != 1.0:
            for token_id in start.prompt_token_ids:
                penalties._place_of(token_id)
        for token_id in start.token_ids[start.num_prompt_tokens :]:
            penalties.count(token_id)
        return penalties

    def count(self, token_id: int) -> None:
        """One more output."""
        place = self._place_of(token_id)  # first: it may replace the arrays
        self._counts[place] += 1.0

    def is_due(self, output_ids: list[int]) -> bool:
        return bool(self._place)

    def apply(self, row_V: Tensor, output_ids: list[int]) -> None:
        ids = self._ids[: len(self._place)].to(row_V.device)
        counts = self._counts[: len(self._place)].to(row_V.device)
        values = row_V[ids]
        if self._repetition != 1.0:
            values = torch.where(values > 0, values / self._repetition, values * self._repetition)
        if self._frequency != 0.0:
            values = values - counts * self._frequency
        if self._presence != 0.0:
            values = values - (counts > 0) * self._presence
        row_V[ids] = values

    def _place_of(self, token_id: int) -> int:
        place = self._place.setdefault(token_id, len(self._place))
        if place == self._ids.shape[0]:
            self._ids = torch.cat([self._ids, torch.zeros_like(self._ids)])
            self._counts = torch.cat([self._counts, torch.zeros_like(self._counts)])
        self._ids[place] = token_id
        return place
