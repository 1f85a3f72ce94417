"""What a backend that can keep a network's calls offers: a class Tape like this in `kernels/<backend>/tape.py`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from quire.model.ops import AttentionBatch


class Unrecordable(Exception):
    """Why a network's calls cannot be kept here: what it does that is no call of the backend."""


class Tape(Protocol):
    """The calls of one forward pass over `capacity` tokens, for any number of tokens up to that."""

    def recording(self) -> AbstractContextManager[None]:
        """Calls within the block are kept and not made. Raises Unrecordable for what cannot be kept."""

    def replay(self, batch: AttentionBatch) -> None:
        """Makes the calls again, for the tokens of `batch`, on the inputs' present contents."""

    def __len__(self) -> int: ...
