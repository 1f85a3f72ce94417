"""OutputStream: the engine's token events of one request become text, log-probabilities and one end per sample."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from quire.base.messages import (
    EngineRequest,
    OutputKind,
    PositionLogprobs,
    RequestTimes,
    TokenEvent,
)
from quire.text.session.flat import FlatLogprobs
from quire.text.session.outputs import Logprob, RequestOutput
from quire.text.session.sample import SampleText, position_logprobs
from quire.text.tokenizer import Tokenizer


class OutputStream:
    """State of one request between engine and caller. Not shared between threads.

    Each sample ends exactly once: by the engine, or here when a stop string appears. News of a sample that
    has ended is ignored. `finished` is true once every sample has ended. `take_aborts` tells which samples ended
    here while the engine goes on with them. `shown_ids` are special tokens that the text shows in any case.
    """

    def __init__(
        self,
        request: EngineRequest,
        tokenizer: Tokenizer,
        prompt_text: str | None = None,
        *,
        shown_ids: frozenset[int] = frozenset(),
        interval_tokens: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.request = request
        self.prompt_text = prompt_text
        self._tokenizer = tokenizer
        self._clock = clock
        self._interval_tokens = request.sampling.stream_interval or interval_tokens
        self._kind = request.sampling.output_kind
        self._samples = [
            SampleText(request, index, tokenizer, shown_ids) for index in range(request.sampling.n)
        ]
        self._num_open = len(self._samples)
        self._engine_open = set(range(len(self._samples)))
        self._to_abort: list[int] = []
        self._prompt_logprobs: list[dict[int, Logprob] | None] | None = None
        self._num_cached_tokens = 0
        self._num_preemptions = 0
        self._first_token_s = 0.0
        self._times: RequestTimes | None = None

    @property
    def finished(self) -> bool:
        return self._num_open == 0

    def take_aborts(self) -> list[int]:
        """Samples ended by a stop string since the last call: the engine does not know and must be told."""
        taken = [index for index in self._to_abort if index in self._engine_open]
        self._to_abort = []
        return taken

    def apply(self, event: TokenEvent) -> RequestOutput | None:
        """Take one event; the output it is worth, or None when there is nothing to tell."""
        return self.apply_all((event,))

    def apply_all(self, events: Iterable[TokenEvent]) -> RequestOutput | None:
        """Take events that arrived together; one output for all of them, or None when there is nothing to tell."""
        changed = set()
        for event in events:
            if not 0 <= event.index < len(self._samples):
                continue
            self._note(event)
            sample = self._samples[event.index]
            if sample.finished:
                continue
            if sample.apply(event):
                changed.add(event.index)
            if sample.finished:
                self._num_open -= 1
                self._to_abort.append(event.index)
        if self._kind is OutputKind.DELTA and self._interval_tokens > 1:
            changed = {index for index in changed if self._samples[index].is_due(self._interval_tokens)}
        return self._output(sorted(changed)) if changed else None

    def _note(self, event: TokenEvent) -> None:
        """Remember what an event says about the request as a whole."""
        if event.finish_reason is not None:
            self._engine_open.discard(event.index)
        if event.token_ids and not self._first_token_s:
            self._first_token_s = self._clock()
        if event.prompt_logprobs is not None and self._prompt_logprobs is None:
            self._prompt_logprobs = [self._logprobs_at(entry) for entry in event.prompt_logprobs]
        self._num_cached_tokens = max(self._num_cached_tokens, event.num_cached_tokens)
        self._num_preemptions = max(self._num_preemptions, event.num_preemptions)
        if event.times is not None:
            self._times = _merge_times(self._times, event.times)

    def _logprobs_at(self, entry: PositionLogprobs | None) -> dict[int, Logprob] | None:
        if entry is None:
            return None
        return position_logprobs(entry, self._tokenizer if self.request.sampling.detokenize else None)

    def _output(self, changed: list[int]) -> RequestOutput | None:
        if self._kind is OutputKind.FINAL_ONLY and not self.finished:
            return None
        deltas = self._kind is OutputKind.DELTA
        outputs = [
            sample.delta() if deltas else sample.so_far()
            for sample in (map(self._samples.__getitem__, changed) if deltas else self._samples)
        ]
        prompt_logprobs = self._prompt_logprobs
        if deltas:
            self._prompt_logprobs = None
        return RequestOutput(
            request_id=self.request.request_id,
            prompt=self.prompt_text,
            prompt_token_ids=[] if self.request.embeddings is not None else self.request.prompt_token_ids,
            outputs=outputs,
            finished=self.finished,
            prompt_logprobs=FlatLogprobs(prompt_logprobs)
            if prompt_logprobs is not None and self.request.sampling.flat_logprobs
            else prompt_logprobs,
            num_cached_tokens=self._num_cached_tokens,
            num_preemptions=self._num_preemptions,
            times=self._final_times() if self.finished else None,
        )

    def _final_times(self) -> RequestTimes:
        """The engine's stamps; ours where a stop string ended the stream before the engine did."""
        known = self._times
        if known is not None and not self._engine_open:
            return known
        return RequestTimes(
            arrival_s=self.request.arrival_s,
            scheduled_s=known.scheduled_s if known else 0.0,
            first_token_s=known.first_token_s if known else self._first_token_s,
            finished_s=self._clock(),
        )


def _merge_times(known: RequestTimes | None, new: RequestTimes) -> RequestTimes:
    """Of several samples: the earliest start, the latest end."""
    if known is None:
        return new
    return RequestTimes(
        arrival_s=new.arrival_s,
        scheduled_s=_earlier(known.scheduled_s, new.scheduled_s),
        first_token_s=_earlier(known.first_token_s, new.first_token_s),
        finished_s=max(known.finished_s, new.finished_s),
    )


def _earlier(one_s: float, other_s: float) -> float:
    """0.0 stands for a stage that was not reached."""
    return min(filter(None, (one_s, other_s)), default=0.0)
