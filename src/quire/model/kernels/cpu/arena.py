"""Arena: memory for the tensors of a recorded pass, shared out when all of them are known.

While a pass is recorded nothing is computed, so a tensor needs no memory, only addresses that no other has. The kept
calls say afterwards from when to when each tensor is used; tensors whose times meet lie apart, others may lie in the
same place.
"""

from __future__ import annotations

import ctypes
import math
import mmap
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from quire.model.kernels.cpu import native

NOWHERE = 1 << 60  # where the addresses begin that a recording gives out: no process has memory there
ALIGNMENT_BYTES = mmap.PAGESIZE


@dataclass(slots=True)
class Span:
    """A tensor's memory. `begin` is its address while recording, `place` its offset in the arena; `first` and `last`
    are the calls that use it, `last` -1 while none does."""

    begin: int
    num_bytes: int
    first: int = 0
    last: int = -1
    place: int = 0


class Arena:
    """Use: `empty` for each tensor, `settle` with all calls, then `settled` for a tensor that outlives the pass."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.memory: mmap.mmap  # from `settle` on
        self._begins: list[int] = []
        self._end = NOWHERE

    def empty(self, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        """A tensor whose contents may not be touched."""
        num_bytes = math.prod(shape) * dtype.itemsize
        span = Span(self._end, _whole_pages(num_bytes))
        self.spans.append(span)
        self._begins.append(span.begin)
        self._end += span.num_bytes
        nothing = (ctypes.c_char * num_bytes).from_address(span.begin)
        return torch.frombuffer(nothing, dtype=dtype).view(shape)

    def holds(self, address: int | None) -> bool:
        return address is not None and NOWHERE <= address < self._end

    def settle(self, calls: Sequence[native.Call], results: Sequence[Tensor]) -> None:
        """Gives the tensors memory and the calls its addresses. `results` are kept when all calls are made."""
        pointers = [
            (number, call, name, address)
            for number, call in enumerate(calls)
            for name in _pointers(type(call))
            if self.holds(address := getattr(call, name))
        ]
        for number, *_, address in pointers:
            self._use(address, number)
        for result in results:
            if self.holds(result.data_ptr()):
                self._use(result.data_ptr(), len(calls))
        size = place([span for span in self.spans if span.last >= 0])
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS  # a page that nobody writes to is never committed
        self.memory = mmap.mmap(-1, max(size, ALIGNMENT_BYTES), flags=flags)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        for _, call, name, address in pointers:
            setattr(call, name, start + self._offset(address))
        for call in calls:
            words = memoryview(call).cast("B").cast("Q")
            assert not any(map(self.holds, words)), f"{call.op} has an address that is no c_void_p"

    def settled(self, tensor: Tensor) -> Tensor:
        """The same view of the memory that the tensor has now."""
        if not self.holds(tensor.data_ptr()):
            return tensor
        whole = torch.frombuffer(self.memory, dtype=torch.uint8)[self._offset(tensor.data_ptr()) :]
        return whole.view(tensor.dtype).as_strided(tensor.shape, tensor.stride())

    def _span(self, address: int) -> Span:
        return self.spans[bisect_right(self._begins, address) - 1]

    def _use(self, address: int, number: int) -> None:
        span = self._span(address)
        if span.last < 0:
            span.first = number
        span.last = number

    def _offset(self, address: int) -> int:
        span = self._span(address)
        return span.place + address - span.begin


def place(spans: Sequence[Span]) -> int:
    """Gives each span a place where none lies that is used at the same time, the largest first, each in the smallest
    gap that holds it. Returns the bytes they take together."""
    placed: list[Span] = []
    for span in sorted(spans, key=lambda span: (-span.num_bytes, span.first)):
        beside = [other for other in placed if other.first <= span.last and span.first <= other.last]
        taken = sorted((other.place, other.place + other.num_bytes) for other in beside)
        span.place = _smallest_gap(taken, span.num_bytes)
        placed.append(span)
    return max((span.place + span.num_bytes for span in placed), default=0)


def _smallest_gap(taken: list[tuple[int, int]], num_bytes: int) -> int:
    """Where so many bytes fit between the ranges, sorted by where they begin; after all of them when nowhere."""
    end, gaps = 0, []
    for first, last in taken:
        if first - end >= num_bytes:
            gaps.append((first - end, end))
        end = max(end, last)
    return min(gaps)[1] if gaps else end


@cache
def _pointers(kind: type[native.Call]) -> list[str]:
    """The fields of a call's arguments that are addresses, those of the structure it begins with among them."""
    fields = (field for base in kind.__mro__ for field in vars(base).get("_fields_", ()))
    return [name for name, of, *_ in fields if of is ctypes.c_void_p]


def _whole_pages(num_bytes: int) -> int:
    return -(-max(num_bytes, 1) // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
