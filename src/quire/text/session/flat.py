"""FlatLogprobs: log-probabilities of many positions in five lists, as `flat_logprobs` asks for.

A list of dictionaries of objects costs Python's garbage collector time for each entry; these cost it nothing. Read
like a list of dictionaries, it makes each dictionary when it is asked for. The lists' names are vLLM's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from quire.text.session.outputs import Logprob


class FlatLogprobs(Sequence[dict[int, Logprob]]):
    """Position p has the entries from `start_indices[p]` to `end_indices[p]`; none where nothing is known of it."""

    def __init__(self, positions: Sequence[dict[int, Logprob] | None] = ()) -> None:
        self.start_indices: list[int] = []
        self.end_indices: list[int] = []
        self.token_ids: list[int] = []
        self.logprobs: list[float] = []
        self.ranks: list[int | None] = []
        self.decoded_tokens: list[str | None] = []
        for position in positions:
            self.append(position)

    def append(self, position: dict[int, Logprob] | None) -> None:
        self.start_indices.append(len(self.token_ids))
        for token_id, entry in (position or {}).items():
            self.token_ids.append(token_id)
            self.logprobs.append(entry.logprob)
            self.ranks.append(entry.rank)
            self.decoded_tokens.append(entry.decoded_token)
        self.end_indices.append(len(self.token_ids))

    def __len__(self) -> int:
        return len(self.start_indices)

    @overload
    def __getitem__(self, place: int) -> dict[int, Logprob]: ...

    @overload
    def __getitem__(self, place: slice) -> FlatLogprobs: ...

    def __getitem__(self, place: int | slice) -> dict[int, Logprob] | FlatLogprobs:
        if isinstance(place, slice):
            return FlatLogprobs([self[one] for one in range(*place.indices(len(self)))])
        start, end = self.start_indices[place], self.end_indices[place]
        return {
            self.token_ids[one]: Logprob(self.logprobs[one], self.ranks[one], self.decoded_tokens[one])
            for one in range(start, end)
        }
