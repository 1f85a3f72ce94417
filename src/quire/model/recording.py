"""A network's forward pass, recorded once and replayed in one call for any step up to a size.

Recording needs a backend that can keep its calls (`kernels/<backend>/tape.py`) and a network that does nothing else.
Results have the same bits as the network's own.
"""

from __future__ import annotations

import importlib
import importlib.util

import torch
from torch import Tensor

from quire.model.kernels import BACKENDS, Tape, Unrecordable
from quire.model.layers import AttentionBatch, LayerKV, Network, StepInput


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
        self._tape: Tape = importlib.import_module(f"quire.model.kernels.{backend}.tape").Tape(batch)
        with self._tape.recording():
            self._hidden_TH = model(StepInput(*self._inputs, batch, caches, types_T))

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
        self._tape.replay(step.attention)
        return self._hidden_TH[:tokens]


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
