"""Who waits, in which order: first come first served, or by priority. One class per policy, one row each."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

from quire.engine.scheduler.sequence import Sequence


class WaitingQueue(Protocol):
    """The order in which waiting sequences are admitted, and which running one gives way first."""

    def add(self, sequence: Sequence) -> None: ...

    def put_back(self, sequence: Sequence) -> None:
        """A preempted sequence: before all that arrived after it."""
        ...

    def head(self) -> Sequence: ...

    def pop(self) -> Sequence: ...

    def remove(self, sequence: Sequence) -> None: ...

    def victim(self, running: dict[Sequence, None]) -> Sequence: ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Sequence]:
        """In the order of admission."""
        ...


class ArrivalQueue:
    """First come, first served; the latest admitted gives way first."""

    def __init__(self) -> None:
        self._sequences: deque[Sequence] = deque()

    def add(self, sequence: Sequence) -> None:
        self._sequences.append(sequence)

    def put_back(self, sequence: Sequence) -> None:
        self._sequences.appendleft(sequence)

    def head(self) -> Sequence:
        return self._sequences[0]

    def pop(self) -> Sequence:
        return self._sequences.popleft()

    def remove(self, sequence: Sequence) -> None:
        if self._sequences[0] is sequence:
            self._sequences.popleft()
        else:
            self._sequences.remove(sequence)

    def victim(self, running: dict[Sequence, None]) -> Sequence:
        return next(reversed(running))

    def __len__(self) -> int:
        return len(self._sequences)

    def __iter__(self) -> Iterator[Sequence]:
        return iter(self._sequences)


class PriorityQueue:
    """Lowest `priority` first, then arrival; the highest `priority`, latest arrival gives way first."""

    def __init__(self) -> None:
        self._heap: list[tuple[tuple[int, float, int], Sequence]] = []

    def add(self, sequence: Sequence) -> None:
        heapq.heappush(self._heap, (sequence.rank, sequence))

    def put_back(self, sequence: Sequence) -> None:
        self.add(sequence)

    def head(self) -> Sequence:
        return self._heap[0][1]

    def pop(self) -> Sequence:
        return heapq.heappop(self._heap)[1]

    def remove(self, sequence: Sequence) -> None:
        if self._heap[0][1] is sequence:
            heapq.heappop(self._heap)
            return
        self._heap = [entry for entry in self._heap if entry[1] is not sequence]
        heapq.heapify(self._heap)

    def victim(self, running: dict[Sequence, None]) -> Sequence:
        return max(running, key=lambda sequence: sequence.rank)

    def __len__(self) -> int:
        return len(self._heap)

    def __iter__(self) -> Iterator[Sequence]:
        return (sequence for _, sequence in sorted(self._heap))


POLICIES: dict[str, Callable[[], WaitingQueue]] = {"fcfs": ArrivalQueue, "priority": PriorityQueue}
