"""Pooler: keeps what is wanted of each sequence's hidden states, and makes its vector or scores at its end.

Each sequence is finished by itself, so its numbers do not depend on its neighbours.
Shapes: T tokens of the step, N of the prompt, R rows (1 or N), H hidden size, L labels.
"""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from quire.base.config import PoolerConfig
from quire.base.errors import EngineFault, QuireError
from quire.base.messages import Chunk, PooledRows, PoolingParams, SampledRow, SequenceStart
from quire.model.layers import PooledNetwork
from quire.worker.pooling.gathering import GATHERINGS, Gathering

_log = logging.getLogger(__name__)
SMALLEST_LENGTH = 1e-12  # torch's: a shorter vector is divided by this


class _Sequence:
    def __init__(self, start: SequenceStart, pooling: PoolingParams, config: PoolerConfig) -> None:
        self.pooling = pooling
        self.is_of_tokens = pooling.task in ("token_embed", "token_classify")
        kind = config.tokens if self.is_of_tokens else config.sequence
        self.gathering: Gathering = GATHERINGS[kind]()
        self.token_ids = start.token_ids if kind == "STEP" else []


class Pooler:
    """Called once per step, for a network that is pooled."""

    def __init__(self, network: PooledNetwork, config: PoolerConfig) -> None:
        self._network = network
        self._config = config
        self._sequences: dict[int, _Sequence] = {}

    def start(self, start: SequenceStart) -> None:
        """Learn a sequence, or learn it anew."""
        assert start.pooling is not None, "a pooling model got a request to generate"
        self._sequences[start.sequence_id] = _Sequence(start, start.pooling, self._config)

    def forget(self, sequence_id: int) -> None:
        """Drop a sequence; one that is not known is no error."""
        self._sequences.pop(sequence_id, None)

    def segment_starts(self, chunks: list[Chunk]) -> dict[int, int]:
        """Where the second text begins, of the sequences that are made of two."""
        starts = {c.sequence_id: self._sequences[c.sequence_id].pooling.segment_start for c in chunks}
        return {sequence_id: start for sequence_id, start in starts.items() if start}

    def pool(self, chunks: list[Chunk], hidden_TH: Tensor, query_starts: list[int]) -> list[SampledRow]:
        """One row for each sequence that is over: its numbers, or the error that ends it alone."""
        rows = []
        for chunk, begin, end in zip(chunks, query_starts, query_starts[1:], strict=False):
            sequence = self._sequences[chunk.sequence_id]
            try:
                sequence.gathering.add(hidden_TH[begin:end], chunk.start)
                if chunk.num_samples:
                    pooled = _packed(self._finish(sequence), sequence.is_of_tokens)
                    rows.append(SampledRow(sequence_id=chunk.sequence_id, pooled=pooled))
            except Exception as error:  # noqa: BLE001 - one sequence's trouble must not end the step
                if not isinstance(error, QuireError):
                    _log.exception("pooling sequence %d failed", chunk.sequence_id)
                text = (
                    str(error)
                    if isinstance(error, QuireError)
                    else f"pooling failed ({type(error).__name__})"
                )
                rows.append(SampledRow(sequence_id=chunk.sequence_id, error=text))
        return rows

    def _finish(self, sequence: _Sequence) -> Tensor:
        rows_RH = sequence.gathering.finish()
        if self._config.head == "none":
            rows = self._vectors(rows_RH, sequence.pooling)
        else:
            rows = self._scores(rows_RH, sequence.pooling)
        rows = _picked(rows, sequence)
        if not torch.isfinite(rows).all():
            raise EngineFault("the model's hidden states are not finite")
        return rows

    def _vectors(self, rows_RH: Tensor, pooling: PoolingParams) -> Tensor:
        if pooling.dimensions is not None:
            rows_RH = rows_RH[:, : pooling.dimensions]
        if not pooling.use_activation:
            return rows_RH
        return torch.nn.functional.normalize(rows_RH, dim=-1, eps=SMALLEST_LENGTH)

    def _scores(self, rows_RH: Tensor, pooling: PoolingParams) -> Tensor:
        dtype = next((p.dtype for p in self._network.parameters()), rows_RH.dtype)
        scores_RL = self._network.scores(rows_RH.to(dtype))
        if self._config.logit_mean is not None:
            scores_RL = scores_RL - self._config.logit_mean
        if self._config.logit_sigma is not None:
            scores_RL = scores_RL / self._config.logit_sigma
        if not pooling.use_activation or self._config.activation == "identity":
            return scores_RL
        return scores_RL.sigmoid() if self._config.activation == "sigmoid" else scores_RL.softmax(dim=-1)


def _picked(rows: Tensor, sequence: _Sequence) -> Tensor:
    """The columns and the tokens that were asked for."""
    pooling = sequence.pooling
    if pooling.returned_token_ids is not None:
        rows = rows[:, pooling.returned_token_ids]
    if sequence.token_ids and pooling.step_tag_id is not None:
        wanted = [place for place, token in enumerate(sequence.token_ids) if token == pooling.step_tag_id]
        rows = rows[wanted]
    return rows


def _packed(rows: Tensor, is_of_tokens: bool) -> PooledRows:
    whole = rows if is_of_tokens else rows[0]
    return PooledRows(list(whole.shape), whole.contiguous().numpy().tobytes())
