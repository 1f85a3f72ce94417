"""Tape: a network's native calls, kept from one dry pass and made again in a single call of the library.

The dry pass runs the network's own Python over `capacity` tokens. Providers check and lay out as always, but
`native.call` keeps its arguments here, and memory asked of torch comes from an arena, which shares it out when all
calls are known. A kept call differs from a real one only in its number of rows, which is that of the tokens times a
whole number, so a replay over T tokens uses the first rows of every tensor.
"""

from __future__ import annotations

import copy
import ctypes
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from quire.model.kernels.cpu import native, top_logits
from quire.model.kernels.cpu.arena import Arena
from quire.model.kernels.cpu.paged_attention import StepBatch
from quire.model.kernels.recorded import Unrecordable
from quire.model.ops import AttentionBatch

supported = native.refusal
PACKAGE = str(Path(__file__).parents[3])


class _Recorded(ctypes.Structure):
    """QuireRecorded of native/api.h."""

    _fields_ = [
        ("op", ctypes.c_void_p),
        ("arguments", ctypes.c_void_p),
        ("rows_per_token", ctypes.c_int64),
    ]


class _Part(ctypes.Structure):
    """QuirePart of native/api.h."""

    _fields_ = [("calls", ctypes.c_void_p), ("count", ctypes.c_int64), ("tokens", ctypes.c_int64)]


class _CompactCall(native.Call):
    op = "compact"
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("x", "out")),
        *((name, ctypes.c_int64) for name in ("pieces", "bytes", "row_stride_bytes", "piece_stride_bytes")),
    ]


class Tape:
    """Keeps the calls of one pass over `capacity` rows; where they attend, `batch` is theirs."""

    def __init__(self, capacity: int, batch: AttentionBatch | None = None) -> None:
        self.capacity = capacity
        self.arena = Arena()
        self._batch = None if batch is None else batch.once(StepBatch)
        self._arguments: list[native.Call] = []
        self._rows_per_token: list[int] = []
        self._bounds: list[tuple[int, int]] = []  # where an index is, and of how many rows
        self._kept: list[Tensor] = []  # whose memory the bounds are about
        self._calls: ctypes.Array[_Recorded] = (_Recorded * 0)()

    def __len__(self) -> int:
        return len(self._arguments)

    @contextmanager
    def recording(self) -> Iterator[None]:
        # composite functions of torch reach the mode in their parts only where gradients are thinkable
        with torch.inference_mode(False), torch.no_grad(), native.kept_by(self), _DryPass(self):
            yield

    def settle(self, *results: Tensor) -> list[Tensor]:
        self.arena.settle(self._arguments, results)
        self._bind()
        return [self.arena.settled(result) for result in results]

    def _bind(self) -> None:
        pairs = zip(self._arguments, self._rows_per_token, strict=True)
        self._calls = (_Recorded * len(self))(
            *(_Recorded(native.address_of(call.op), ctypes.addressof(call), rows) for call, rows in pairs)
        )

    def highest(self, settled: Tensor) -> tuple[Tape, Tensor, Tensor] | None:
        value_R, place_R = torch.empty(self.capacity), torch.empty(self.capacity, dtype=torch.int64)
        last = top_logits.instead_of(self._arguments[-1], value_R, place_R)
        is_all = settled.is_contiguous() and settled.data_ptr() == getattr(self._arguments[-1], "out", None)
        if last is None or not is_all or self._rows_per_token[-1] != 1:
            return None
        other = copy.copy(self)
        other._arguments = [*self._arguments[:-1], last]
        other._bind()
        return other, value_R, place_R

    def keep(self, arguments: native.Call) -> None:
        rows_per_token, rest = divmod(arguments.rows, self.capacity)
        if rest or not rows_per_token:
            raise Unrecordable(
                f"{arguments.op} has {arguments.rows} rows for {self.capacity} tokens{_place()}"
            )
        self._arguments.append(arguments)
        self._rows_per_token.append(rows_per_token)

    def expect_below(self, index_T: Tensor, num_rows: int) -> None:
        """Each replay must find the index within `num_rows`; so it has to be there before."""
        if self.arena.holds(index_T.data_ptr()):
            raise Unrecordable(f"an index that is computed{_place()} cannot be checked")
        self._bounds.append((index_T.data_ptr(), num_rows))
        self._kept.append(index_T)

    def replay(
        self, rows: int, batch: AttentionBatch | None = None, then: Sequence[tuple[Tape, int]] = ()
    ) -> None:
        """Raises ValueError for more rows than were recorded, IndexError for an index out of its table."""
        steps = (self, rows), *then
        for tape, tokens in steps:
            tape._check(tokens)
        if self._batch is not None:
            assert batch is not None and batch.query_starts[-1] == rows
            self._batch.become(batch.once(StepBatch))
        parts = (_Part * len(steps))(
            *(_Part(ctypes.addressof(tape._calls), len(tape), tokens) for tape, tokens in steps)
        )
        native.library().quire_replay(ctypes.addressof(parts), len(parts))

    def _check(self, rows: int) -> None:
        if rows > self.capacity:
            raise ValueError(f"a step of {rows} tokens; {self.capacity} were recorded")
        for address, num_rows in self._bounds:
            native.check_bounds(address, rows, num_rows)


class _DryPass(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """What torch may do while a network is recorded: look at tensors differently, ask for memory, and copy into
    contiguous memory, which is kept as a call. Anything that computes is refused."""

    def __init__(self, tape: Tape) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._tape = tape

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nobody compiles this; torch would import its compiler, for two seconds, to say so."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func.is_view:
            return func(*args, **kwargs)
        if func is torch.ops.aten.empty.memory_format:
            return self._empty(*args, **kwargs)
        if func is torch.ops.aten.clone.default:
            return self._clone(*args, **kwargs)
        raise Unrecordable(f"{func}{_place()} is no call of the native library")

    def _empty(self, shape: list[int], *, dtype: torch.dtype | None = None, **rest: Any) -> Tensor:
        return self._tape.arena.empty(torch.Size(shape), dtype or torch.get_default_dtype())

    def _clone(self, x: Tensor, *, memory_format: torch.memory_format) -> Tensor:
        """Rows of pieces, each in one piece of memory, put side by side."""
        if not 2 <= x.dim() <= 3 or x.stride(-1) != 1:
            raise Unrecordable(f"a copy of strides {x.stride()}{_place()} is no call of the native library")
        out = self._tape.arena.empty(x.shape, x.dtype)
        item_bytes = x.element_size()
        pieces, piece_stride = (x.shape[1], x.stride(1)) if x.dim() == 3 else (1, 0)
        strides_bytes = x.stride(0) * item_bytes, piece_stride * item_bytes
        addresses = x.data_ptr(), out.data_ptr()
        native.call(_CompactCall(len(x), *addresses, pieces, x.shape[-1] * item_bytes, *strides_bytes))
        return out


def _place() -> str:
    """Where the network's Python is now: its innermost file and line outside this one."""
    for frame in reversed(traceback.extract_stack()):
        if frame.filename.startswith(PACKAGE) and frame.filename != __file__:
            return f" ({Path(frame.filename).relative_to(PACKAGE)}:{frame.lineno})"
    return ""
