"""A network's forward pass and its head, recorded once and replayed in one call each for any step up to a size.

Recording needs a backend that can keep its calls (`kernels/<backend>/tape.py`) and a network that does nothing else.
Results have the same bits as the network's own.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable

import torch
from torch import Tensor

from quire.model import ops
from quire.model.kernels import BACKENDS, Tape, Unrecordable
from quire.model.layers import AttentionBatch, CausalLM, LayerKV, Network, StepInput


class Recording:
    """The forward pass of `model` over `caches` (none for an encoder), for steps of up to `capacity` tokens."""

    def __init__(self, model: Network, caches: list[LayerKV], capacity: int, backend: str) -> None:
        # any batch of that many tokens does: its contents are the step's when it runs
        table, block_size = ([0], int(caches[0].key.shape[1])) if caches else ([], 1)
        batch = AttentionBatch(list(range(capacity + 1)), [1] * capacity, [table] * capacity, block_size)
        token_ids_T, positions_T, slots_T, types_T = torch.zeros(4, capacity, dtype=torch.int64)
        self._inputs = token_ids_T, positions_T, slots_T
        self._types_T = types_T
        self._kept = model, caches  # whose memory the calls read and write
        self._backend = backend
        self._tape = _tape(backend, capacity, batch)
        with self._tape.recording():
            hidden_TH = model(StepInput(*self._inputs, batch, caches, types_T))
        self._hidden_TH = self._tape.settle(hidden_TH)

    def __len__(self) -> int:
        """How many calls of the backend a step makes."""
        return len(self._tape)

    def __call__(self, step: StepInput) -> Tensor:
        """As the network's forward, on the recorded caches. The result is overwritten by the next step. Raises
        ValueError for a step of more tokens than were recorded."""
        tokens = len(step.token_ids_T)
        if tokens > len(self._hidden_TH):
            raise ValueError(f"a step of {tokens} tokens; {len(self._hidden_TH)} were recorded")
        given = step.token_ids_T, step.positions_T, step.slots_T
        for ours, theirs in zip(self._inputs, given, strict=True):
            ours[:tokens] = theirs
        self._types_T[:tokens] = 0 if step.token_type_ids_T is None else step.token_type_ids_T
        self._tape.replay(tokens, step.attention)
        return self._hidden_TH[:tokens]

    def head(self, model: CausalLM, capacity: int) -> Callable[[Tensor], Tensor]:
        """As `model.logits`; recorded, for up to `capacity` rows, where it does nothing that cannot be."""
        try:
            return RecordedHead(model, self._hidden_TH, capacity, self._backend)
        except Unrecordable:
            return model.logits


class RecordedHead:
    """The head over rows like those of `hidden_TH`. Logits of a batch are large: in a place of their own they do not
    grow the heap whenever something small has settled in their last one."""

    def __init__(self, model: CausalLM, hidden_TH: Tensor, capacity: int, backend: str) -> None:
        self._model = model
        self._rows_RH = torch.zeros(capacity, hidden_TH.shape[1], dtype=hidden_TH.dtype)
        self._tape = _tape(backend, capacity)
        with self._tape.recording():
            logits_RV = model.logits(self._rows_RH)
        self._logits_RV = self._tape.settle(logits_RV)
        self._highest = self._tape.highest(self._logits_RV)

    def highest(self, hidden_RH: Tensor) -> tuple[Tensor, Tensor]:
        """As first_largest of the logits, which are not written where the head can tell without. The results are
        overwritten by the next call."""
        rows = len(hidden_RH)
        if self._highest is None or rows > len(self._rows_RH):
            return ops.first_largest(self(hidden_RH))
        tape, value_R, place_R = self._highest
        self._rows_RH[:rows] = hidden_RH
        tape.replay(rows)
        return value_R[:rows], place_R[:rows]

    def __call__(self, hidden_RH: Tensor) -> Tensor:
        """The result is overwritten by the next call, unless it has more rows than were recorded."""
        rows = len(hidden_RH)
        if rows > len(self._rows_RH):
            return self._model.logits(hidden_RH)
        self._rows_RH[:rows] = hidden_RH
        self._tape.replay(rows)
        return self._logits_RV[:rows]


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
