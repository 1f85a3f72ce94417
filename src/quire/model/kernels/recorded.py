"""What a backend that can keep a network's calls offers: a class Tape like this in `kernels/<backend>/tape.py`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

if TYPE_CHECKING:
    from quire.model.ops import AttentionBatch


class Unrecordable(Exception):
    """Why a network's calls cannot be kept here: what it does that is no call of the backend."""


class Tape(Protocol):
    """The calls of one pass over `capacity` rows, for any number of rows up to that."""

    def recording(self) -> AbstractContextManager[None]:
        """Calls within the block are kept and not made. Raises Unrecordable for what cannot be kept."""

    def settle(self, *results: Tensor) -> list[Tensor]:
        """After recording: gives the calls their memory. Returns where each replay leaves `results` of the pass."""

    def replay(
        self, rows: int, batch: AttentionBatch | None = None, then: Sequence[tuple[Tape, int]] = ()
    ) -> None:
        """Makes the calls again for so many rows, the tokens of `batch`, on the inputs' present contents; after them,
        in the same call, those of other tapes, each for as many rows as stand beside it."""

    def highest(self, settled: Tensor) -> tuple[Tape, Tensor, Tensor] | None:
        """A tape that leaves the highest of each row instead of `settled`, the pass's result, and where it leaves
        these numbers and their places, as first_largest has them. None where the pass does not end in a linear."""

    def __len__(self) -> int: ...
