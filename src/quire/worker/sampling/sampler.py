"""Sampler: one row of logits in, one outcome per sample out, and the same outcome whatever else is in the batch.

What a request does to its logits is done to them where they stand; then greedy rows are one arg max over the whole
batch, and random rows one draw. Where a grammar is all that is asked for it is asked afterwards, and only rows whose
token it refuses are masked. Rows that want log-probabilities are grouped by what they need, so a feature costs
nothing where it is not used, and copied in chunks that fit a processor's cache. Whatever goes wrong with a row fails
that row alone.
Shapes: R rows of the step, r rows of a chunk, V vocabulary.
"""

from __future__ import annotations

import logging
import math

import torch
from torch import Tensor

from quire.base.errors import EngineFault, InvalidValue, QuireError
from quire.base.messages import NOTHING_TO_CHOOSE, PositionLogprobs, SampledRow, SequenceStart
from quire.model import ops
from quire.model.ops import Truncation, kept_weights, logit_scales
from quire.worker.grammar import GrammarStore
from quire.worker.sampling.logprobs import position_logprobs
from quire.worker.sampling.own_steps import Processors
from quire.worker.sampling.rows import Row, SampleRequest, alike_chunks, failed
from quire.worker.sampling.state import SequenceState

_CHUNK_VALUES = 2**18  # 1 MiB of float32: a chunk and its temporaries stay in a core's L2 cache
_CHUNK_VALUES_DEVICE = 2**26  # accelerators want wide launches; bounds temporaries to a few GiB

_log = logging.getLogger(__name__)


class Sampler:
    """Keeps what sampling needs of every running sequence; called once per step.

    `logprobs_mode` is raw_logprobs, processed_logprobs, raw_logits or processed_logits: before or after
    the request's own changes (for random rows temperature and truncation too), normalised or not.
    `max_logprobs` bounds how many leading tokens may be asked for; -1 means no bound. `grammars` holds those of
    constrained sequences, `processors` the user's own.
    """

    def __init__(
        self,
        vocab_size: int,
        logprobs_mode: str,
        max_logprobs: int,
        grammars: GrammarStore | None = None,
        processors: Processors | None = None,
    ) -> None:
        modes = ("raw_logprobs", "processed_logprobs", "raw_logits", "processed_logits")
        if logprobs_mode not in modes:
            raise InvalidValue(
                f"logprobs_mode must be one of {', '.join(modes)}, got {logprobs_mode!r}",
                field="logprobs_mode",
            )
        self._vocab_size = vocab_size
        self._grammars = grammars
        self._processors = processors
        self._max_logprobs = vocab_size if max_logprobs == -1 else max_logprobs
        self._is_processed = logprobs_mode.startswith("processed_")
        self._is_normalised = logprobs_mode.endswith("_logprobs")
        self._states: dict[int, SequenceState] = {}
        self._refused: dict[int, str] = {}  # sequences that could not be started, and why

    def start(self, start: SequenceStart) -> None:
        """Learn a sequence, or learn it anew. One that asks for the impossible fails when it is sampled."""
        self.forget(start.sequence_id)
        try:
            self._check_num_leading(start.sampling.logprobs or 0, "logprobs")
            self._states[start.sequence_id] = SequenceState(
                start, self._vocab_size, self._grammars, self._processors
            )
        except Exception as error:  # noqa: BLE001 - one sequence's trouble must not end the step
            self._refused[start.sequence_id] = _explain(error, "preparing its sampling parameters")

    def forget(self, sequence_id: int) -> None:
        """Drop a sequence; one that is not known is no error."""
        self._states.pop(sequence_id, None)
        self._refused.pop(sequence_id, None)

    def sample(
        self, logits_RV: Tensor, requests: list[SampleRequest], peaks: list[tuple[float, int]] | None = None
    ) -> list[SampledRow]:
        """One SampledRow per sample, in the order of `requests`; row r of float32 logits is requests[r]'s,
        `peaks` what ops.first_largest says of them, where the caller knows.

        The logits are the sampler's to change. Each sequence's state grows by its token (of a fork, sample 0's).
        """
        if not requests:
            return []
        logits_RV = logits_RV.float().contiguous()
        if peaks is None:
            maxima_R, best_R = ops.first_largest(logits_RV)
            peaks = list(zip(maxima_R.tolist(), best_R.tolist(), strict=True))
        rows: list[Row] = []
        results: list[list[SampledRow]] = [[] for _ in requests]
        for index, (request, (maximum, best)) in enumerate(zip(requests, peaks, strict=True)):
            state = self._states.get(request.sequence_id)
            if state is None:
                results[index] = failed(request, self._refusal(request.sequence_id))
                continue
            row = Row(index, request, state, state.due_steps(), maximum, best)
            rows.append(row)
            row.error = _not_finite(maximum, request)
        self._fill(logits_RV, rows)
        asking = [row for row in rows if row.asked_after is not None and row.tokens]
        for row in asking:
            try:
                row.ask_grammar()
            except Exception as error:  # noqa: BLE001 - a row fails alone, its neighbours go on
                row.error = _explain(error, "asking a grammar")
        self._fill(logits_RV, asking)
        for row in rows:
            results[row.index] = row.close()
        return [sampled for outcome in results for sampled in outcome]

    def are_plain(self, requests: list[SampleRequest]) -> bool:
        """Whether all these rows want no more than the arg max of the model's logits, which `take` is for."""
        states = map(self._states.get, [request.sequence_id for request in requests])
        return all(state is not None and state.is_plain for state in states)

    def take(self, peaks: list[tuple[float, int]], requests: list[SampleRequest]) -> list[SampledRow]:
        """As `sample`, of plain rows."""
        results: list[SampledRow] = []
        for request, (maximum, best) in zip(requests, peaks, strict=True):
            row = Row(0, request, self._states[request.sequence_id], [], maximum, best)
            row.error = _not_finite(maximum, request)
            if row.error is None:
                row.take([best] * request.num_samples)
            results += row.close()
        return results

    def prompt_logprobs(
        self, logits_RV: Tensor, token_ids: list[int], top_k: int, listed: list[int]
    ) -> list[PositionLogprobs]:
        """Raw log-probabilities of the given next token of each row, with `top_k` leading ones (-1: all), `listed`.

        Raises EngineFault when a row is not finite: a prompt's answer cannot be given in part.
        """
        if not token_ids:
            return []
        self._check_num_leading(top_k, "prompt_logprobs")
        logits_RV = logits_RV.float().contiguous()
        answers: list[PositionLogprobs] = []
        rows_at_once = _rows_at_once(logits_RV)
        for begin in range(0, len(token_ids), rows_at_once):
            part_rV = logits_RV[begin : begin + rows_at_once]
            for maximum in ops.first_largest(part_rV)[0].tolist():
                if not math.isfinite(maximum):
                    raise EngineFault(f"the model's logits {_describe_maximum(maximum)} within the prompt")
            chosen = [[token_id] for token_id in token_ids[begin : begin + rows_at_once]]
            many = len(chosen)
            found = position_logprobs(part_rV, chosen, [top_k] * many, [listed] * many, normalise=True)
            answers.extend(row[0] for row in found)
        return answers

    def _check_num_leading(self, number: int, name: str) -> None:
        wanted = self._vocab_size if number == -1 else number
        if wanted > self._max_logprobs:
            raise InvalidValue(
                f"{name} must be at most {self._max_logprobs} (--max-logprobs), got {number}", field=name
            )

    def _refusal(self, sequence_id: int) -> str:
        return self._refused.get(sequence_id, "the sampler was never told about this sequence")

    def _fill(self, logits_RV: Tensor, rows: list[Row]) -> None:
        """Give those that have none tokens or an error."""
        changing = [row for row in rows if row.steps and row.is_open and not self._tells_raw(row)]
        if changing:
            _apply_steps(logits_RV, [row.index for row in changing], changing)
            for row in changing:
                row.steps = []
        open_rows = []
        for row in rows:
            if not row.is_open:
                continue
            if row.is_plain:
                row.take([row.best] * row.request.num_samples)
            else:
                open_rows.append(row)
        for chunk in alike_chunks(open_rows, _rows_at_once(logits_RV)):
            self._sample_safely(logits_RV, chunk)

    def _tells_raw(self, row: Row) -> bool:
        """Whether the row's logits are told as they were before its steps."""
        return row.state.num_logprobs is not None and not self._is_processed

    def _sample_safely(self, logits_RV: Tensor, rows: list[Row]) -> None:
        """Fill the rows; when something raises, each row on its own, and those that still raise fail."""
        try:
            self._sample_chunk(logits_RV, rows)
        except Exception as error:  # noqa: BLE001 - a row fails alone, its neighbours go on
            if len(rows) == 1:
                rows[0].error = _explain(error, "sampling")
                return
            for row in rows:
                self._sample_safely(logits_RV, [row])

    def _sample_chunk(self, logits_RV: Tensor, rows: list[Row]) -> None:
        """Fill rows of equal needs with tokens and log-probabilities."""
        indices = torch.tensor([row.index for row in rows], device=logits_RV.device)
        if rows[0].is_light:
            _draw(logits_RV, indices, rows)
            return
        raw_rV = logits_RV.index_select(0, indices)
        changed_rV = raw_rV
        if rows[0].steps:
            changed_rV = raw_rV.clone()
            _apply_steps(changed_rV, list(range(len(rows))), rows)
            if any(row.error is not None for row in rows):
                self._fill(logits_RV, rows)
                return
        if rows[0].state.is_greedy:
            for row in rows:
                row.take([row.best] * row.request.num_samples)
        else:
            _draw(changed_rV, None, rows)
        self._attach_logprobs(_as_drawn(changed_rV, rows) if self._is_processed else raw_rV, rows)

    def _attach_logprobs(self, values_rV: Tensor, rows: list[Row]) -> None:
        answers = position_logprobs(
            values_rV,
            [row.tokens for row in rows],
            [row.state.num_logprobs or 0 for row in rows],
            [row.state.listed_ids for row in rows],
            normalise=self._is_normalised,
        )
        for row, answer in zip(rows, answers, strict=True):
            row.logprobs = answer


def _rows_at_once(logits_RV: Tensor) -> int:
    values = _CHUNK_VALUES if logits_RV.device.type == "cpu" else _CHUNK_VALUES_DEVICE
    return max(1, values // logits_RV.shape[1])


def _draw(logits_RV: Tensor, indices_r: Tensor | None, rows: list[Row]) -> None:
    """Fill random rows with tokens; `indices_r` says where their logits are, None that they are all there is."""
    draws = [row.draws() for row in rows]
    most = max(len(row) for row in draws)
    draws_rN = torch.tensor([row + [0] * (most - len(row)) for row in draws], device=logits_RV.device)
    tokens_rN, _ = ops.draw_tokens(logits_RV, indices_r, *_changes(logits_RV, rows), draws_rN)
    for row, own, tokens in zip(rows, draws, tokens_rN.tolist(), strict=True):
        row.take(tokens[: len(own)])


def _changes(logits_RV: Tensor, rows: list[Row]) -> tuple[Tensor, Tensor, Truncation]:
    """Each row's largest logit, scale and truncation, as the op takes them."""
    states = [row.state for row in rows]
    asked = Truncation.of(
        min_p=[state.min_p for state in states],
        top_k=[state.top_k for state in states],
        top_p=[state.top_p for state in states],
    )
    maxima_r = logits_RV.new_tensor([row.maximum for row in rows])
    return maxima_r, logit_scales([state.temperature for state in states]).to(logits_RV.device), asked


def _as_drawn(logits_rV: Tensor, rows: list[Row]) -> Tensor:
    """The logits after temperature and truncation, which greedy rows know nothing of."""
    if rows[0].state.is_greedy:
        return logits_rV
    shown_rV = logits_rV / logits_rV.new_tensor([row.state.temperature for row in rows])[:, None]
    if rows[0].state.truncates:
        shown_rV.masked_fill_(kept_weights(logits_rV, *_changes(logits_rV, rows)) == 0, -torch.inf)
    return shown_rV


def _apply_steps(values_RV: Tensor, places: list[int], rows: list[Row]) -> None:
    """Apply each row's steps to the values at its place, and learn anew which is largest. A row whose steps raise or
    leave nothing to choose gets an error."""
    for place, row in zip(places, rows, strict=True):
        try:
            for step in row.steps:
                step.apply(values_RV[place], row.state.output_ids)
        except Exception as error:  # noqa: BLE001 - a row fails alone, its neighbours go on
            row.error = _explain(error, "sampling")
    maxima_r, best_r = ops.first_largest(values_RV, torch.tensor(places, device=values_RV.device))
    for row, maximum, best in zip(rows, maxima_r.tolist(), best_r.tolist(), strict=True):
        row.maximum, row.best = maximum, best
        if row.error is None and not math.isfinite(maximum):
            row.error = (
                f"{NOTHING_TO_CHOOSE} {_describe_maximum(maximum)}: "
                "check structured_outputs, allowed_token_ids, bad_words, min_tokens, logit_bias, repetition_penalty "
                "and the server's logits processors"
            )


def _explain(error: Exception, doing: str) -> str:
    """The failed row's message. Unexpected exceptions are named by type only and logged in full."""
    if isinstance(error, QuireError):
        return str(error)
    _log.error("%s failed", doing, exc_info=error)
    return f"{doing} raised {type(error).__name__}; the server's log has the details"


def _not_finite(maximum: float, request: SampleRequest) -> str | None:
    """What is wrong with a row of the model whose largest logit this is, if anything."""
    if math.isfinite(maximum):
        return None
    return f"the model's logits {_describe_maximum(maximum)} at position {request.position}"


def _describe_maximum(maximum: float) -> str:
    """What a row's largest value tells when it is not finite."""
    if math.isnan(maximum):
        return "hold NaN"
    return "hold +inf" if maximum > 0 else "are all -inf"
