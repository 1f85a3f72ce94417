"""A network's forward pass and its head, recorded once and replayed in one call for any step up to a size.

Recording needs a backend that can keep its calls (`kernels/<backend>/tape.py`) and a network that does nothing else.
Results have the same bits as the network's own.
"""

from __future__ import annotations

import importlib
import importlib.util
from array import array
from collections.abc import Sequence

import torch
from torch import Tensor

from quire.model import ops
from quire.model.kernels import BACKENDS, Tape, Unrecordable
from quire.model.layers import AttentionBatch, CausalLM, LayerKV, Network, StepInput

Peak = tuple[float, int]  # a row's largest logit and the first token that has it


class Recording:
    """The forward pass of `model` over `caches` (none for an encoder), for steps of up to `capacity` tokens."""

    def __init__(self, model: Network, caches: list[LayerKV], capacity: int, backend: str) -> None:
        # any batch of that many tokens does: its contents are the step's when it runs
        table, block_size = ([0], int(caches[0].key.shape[1])) if caches else ([], 1)
        batch = AttentionBatch(list(range(capacity + 1)), [1] * capacity, [table] * capacity, block_size)
        token_ids, positions, slots, types = parts = [array("q", bytes(8 * capacity)) for _ in range(4)]
        self._input = StepInput(token_ids, positions, slots, batch, caches, types)
        self._places = [memoryview(part) for part in parts]
        self._kept = model, caches  # whose memory the calls read and write
        self._backend = backend
        self._tape = _tape(backend, capacity, batch)
        with self._tape.recording():
            hidden_TH = model(self._input)
        (self._hidden_TH,) = self._tape.settle(hidden_TH)

    def __len__(self) -> int:
        """How many calls of the backend a step makes."""
        return len(self._tape)

    def __call__(self, step: StepInput) -> Tensor:
        """As the network's forward, on the recorded caches. The result is overwritten by the next step. Raises
        ValueError for a step of more tokens than were recorded."""
        tokens = self._take(step)
        self._tape.replay(tokens, step.attention)
        return self._hidden_TH[:tokens]

    def _take(self, step: StepInput) -> int:
        tokens = len(step.token_ids)
        if tokens > len(self._hidden_TH):
            raise ValueError(f"a step of {tokens} tokens; {len(self._hidden_TH)} were recorded")
        types = step.token_type_ids or array("q", bytes(8 * tokens))
        given = step.token_ids, step.positions, step.slots, types
        for ours, theirs in zip(self._places, given, strict=True):
            ours[:tokens] = theirs
        return tokens

    def head(self, model: CausalLM, capacity: int) -> Head | None:
        """That of `model` for up to `capacity` rows; None where it does something that cannot be recorded."""
        try:
            return Head(self, model, capacity)
        except Unrecordable:
            return None


class _Ending:
    """How a step ends that samples: tapes, and where they leave each row's peak."""

    def __init__(self, tapes: list[Tape], maxima_R: Tensor, best_R: Tensor) -> None:
        self.tapes = tapes
        self._maxima, self._best = maxima_R.numpy().data, best_R.numpy().data

    def peaks(self, count: int) -> list[Peak]:
        return list(zip(self._maxima[:count].tolist(), self._best[:count].tolist(), strict=True))


class Head:
    """The head over rows of a recording's result. Logits of a batch are large: in a place of their own they do not
    grow the heap whenever something small has settled in their last one."""

    def __init__(self, recording: Recording, model: CausalLM, capacity: int) -> None:
        self._recording, self._model = recording, model
        rows = array("q", bytes(8 * capacity))
        self._rows = memoryview(rows)
        rows_R = torch.frombuffer(rows, dtype=torch.int64)
        self._tape = _tape(recording._backend, capacity)
        with self._tape.recording():
            logits_RV = model.logits(ops.embedding(recording._hidden_TH, rows_R))
        (self._logits_RV,) = self._tape.settle(logits_RV)
        choice = _tape(recording._backend, capacity)
        with choice.recording():
            peaks = ops.first_largest(self._logits_RV)
        self._whole = _Ending([self._tape, choice], *choice.settle(*peaks))
        highest = self._tape.highest(self._logits_RV)
        self._alone = self._whole if highest is None else _Ending([highest[0]], *highest[1:])

    def after(self, step: StepInput, rows: Sequence[int]) -> tuple[Tensor, list[Peak]]:
        """The step's forward pass and the logits of these of its rows, overwritten by the next call; and the peak of
        each row. Raises ValueError for more than were recorded."""
        peaks = self._end(step, rows, self._whole)
        return self._logits_RV[: len(rows)], peaks

    def peaks_after(self, step: StepInput, rows: Sequence[int]) -> list[Peak]:
        """As `after`, without the logits, which are not written where the head can tell without."""
        return self._end(step, rows, self._alone)

    def _end(self, step: StepInput, rows: Sequence[int], ending: _Ending) -> list[Peak]:
        """All of it is one call of the backend: whenever weights have been read, the processor's caches hold nothing
        else, and whatever the caller does next begins in memory."""
        tokens, count = self._recording._take(step), self._take(rows)
        self._recording._tape.replay(tokens, step.attention, [(tape, count) for tape in ending.tapes])
        return ending.peaks(count)

    def __call__(self, hidden_TH: Tensor, rows: Sequence[int]) -> Tensor:
        """The logits of `rows`, overwritten by the next call. What is no result of the recording, or has more rows
        than were recorded, goes through the model's own."""
        is_recorded = hidden_TH.data_ptr() == self._recording._hidden_TH.data_ptr()
        if not is_recorded or len(rows) > len(self._rows):
            return self._model.logits(hidden_TH[torch.tensor(rows)])
        self._tape.replay(self._take(rows))
        return self._logits_RV[: len(rows)]

    def _take(self, rows: Sequence[int]) -> int:
        if len(rows) > len(self._rows):
            raise ValueError(f"logits of {len(rows)} rows; {len(self._rows)} were recorded")
        self._rows[: len(rows)] = array("q", rows)
        return len(rows)


def _tape(backend: str, capacity: int, batch: AttentionBatch | None = None) -> Tape:
    tape: Tape = importlib.import_module(f"quire.model.kernels.{backend}.tape").Tape(capacity, batch)
    return tape


def record(model: Network, caches: list[LayerKV], capacity: int) -> Recording:
    """Raises Unrecordable with the reason of each backend; the network then runs as it is."""
    reasons: list[str] = []
    for backend in BACKENDS:
        path = f"quire.model.kernels.{backend}.tape"
        if importlib.util.find_spec(path) is None:
            reasons.append(f"{backend}: keeps no calls")
        elif reason := importlib.import_module(path).supported():
            reasons.append(f"{backend}: {reason}")
        else:
            try:
                return Recording(model, caches, capacity, backend)
            except Unrecordable as refusal:
                reasons.append(f"{backend}: {refusal}")
    raise Unrecordable("; ".join(reasons))
