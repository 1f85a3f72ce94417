"""One sample of a request: its tokens become text, held back and cut where a stop string asks for it."""

from __future__ import annotations

from quire.base.messages import EngineRequest, FinishReason, PositionLogprobs, TokenEvent
from quire.text.session.flat import FlatLogprobs
from quire.text.session.outputs import CompletionOutput, Logprob
from quire.text.session.stops import StopScanner
from quire.text.tokenizer import IncrementalDetokenizer, Tokenizer


class SampleText:
    """Everything known of one sample. `apply` grows it, `so_far` and `delta` report it."""

    def __init__(
        self,
        request: EngineRequest,
        index: int,
        tokenizer: Tokenizer,
        shown_ids: frozenset[int] = frozenset(),
    ) -> None:
        sampling = request.sampling
        self.index = index
        self._tokenizer = tokenizer
        self._detokenizes = sampling.detokenize
        self._keeps_stop = sampling.include_stop_str_in_output
        self._min_tokens = sampling.min_tokens
        self._detokenizer = IncrementalDetokenizer(
            tokenizer,
            skip_special_tokens=sampling.skip_special_tokens,
            spaces_between_special_tokens=sampling.spaces_between_special_tokens,
            starts_text=False,
            shown_ids=shown_ids,
        )
        self._scanner = StopScanner(sampling.stop_strings, keep_stop=self._keeps_stop)
        self._pieces: list[str] = []
        self._token_ids: list[int] = []
        wants_logprobs = sampling.logprobs is not None or sampling.logprob_token_ids is not None
        self._logprobs: list[dict[int, Logprob]] | None = [] if wants_logprobs else None
        self._is_flat = sampling.flat_logprobs
        self._cumulative_logprob = 0.0 if wants_logprobs else None
        self._num_pieces_told = 0
        self._num_tokens_told = 0
        self._finish_reason: FinishReason | None = None
        self._stop_reason: int | str | None = None
        self._error: str | None = None

    @property
    def finished(self) -> bool:
        return self._finish_reason is not None

    def is_due(self, interval_tokens: int) -> bool:
        """Whether a delta should be told: the first token, the end, and in between every `interval_tokens`."""
        num_new = len(self._token_ids) - self._num_tokens_told
        return self.finished or not self._num_tokens_told or num_new >= interval_tokens

    def apply(self, event: TokenEvent) -> bool:
        """Take one event's tokens and end; False when it held neither. Must not be called after the end."""
        # A stop token or EOS is part of the tokens; its text is shown only when stops are to be kept.
        num_shown = len(event.token_ids)
        if event.finish_reason == "stop" and not self._keeps_stop:
            num_shown -= 1
        for place, token_id in enumerate(event.token_ids):
            self._token_ids.append(token_id)
            if self._logprobs is not None and event.logprobs is not None:
                self._add_logprobs(event.logprobs[place])
            if place < num_shown and self._detokenizes:
                self._add_text(self._detokenizer.feed([token_id]))
                if self._scanner.match is not None:
                    self._end("stop", self._scanner.match)
                    return True
        if event.finish_reason is not None:
            self._end_with_engine(event)
        return bool(event.token_ids) or event.finish_reason is not None

    def so_far(self) -> CompletionOutput:
        """Everything up to now."""
        return self._report("".join(self._pieces), 0)

    def delta(self) -> CompletionOutput:
        """What is new since the last `delta`."""
        text = "".join(self._pieces[self._num_pieces_told :])
        output = self._report(text, self._num_tokens_told)
        self._num_pieces_told = len(self._pieces)
        self._num_tokens_told = len(self._token_ids)
        return output

    def _report(self, text: str, first_token: int) -> CompletionOutput:
        logprobs = None if self._logprobs is None else self._logprobs[first_token:]
        return CompletionOutput(
            index=self.index,
            text=text,
            token_ids=self._token_ids[first_token:],
            cumulative_logprob=self._cumulative_logprob,
            logprobs=FlatLogprobs(logprobs) if logprobs is not None and self._is_flat else logprobs,
            finish_reason=self._finish_reason,
            stop_reason=self._stop_reason,
            error=self._error,
        )

    def _add_text(self, text: str) -> None:
        if text:
            # As in vLLM, no stop string may end within the first `min_tokens` tokens.
            shown = self._scanner.feed(text, may_match=len(self._token_ids) > self._min_tokens)
            if shown:
                self._pieces.append(shown)

    def _add_logprobs(self, entry: PositionLogprobs) -> None:
        assert self._logprobs is not None
        assert self._cumulative_logprob is not None
        self._logprobs.append(position_logprobs(entry, self._tokenizer if self._detokenizes else None))
        self._cumulative_logprob += entry.logprobs[0]

    def _end_with_engine(self, event: TokenEvent) -> None:
        """The engine's end. Bytes still waiting for the rest of their character come out as U+FFFD now."""
        if self._detokenizes:
            self._add_text(self._detokenizer.flush())
        if self._scanner.match is not None:
            self._end("stop", self._scanner.match)
            return
        held = self._scanner.flush()
        if held:
            self._pieces.append(held)
        self._error = event.error
        self._end(event.finish_reason, event.stop_reason)

    def _end(self, reason: FinishReason | None, stop_reason: int | str | None) -> None:
        self._finish_reason = reason
        self._stop_reason = stop_reason


def position_logprobs(entry: PositionLogprobs, tokenizer: Tokenizer | None) -> dict[int, Logprob]:
    """One position's log-probabilities by token id, the token that stands there first; no text without tokenizer."""
    num_ranked = len(entry.token_ids) - entry.num_listed
    ranks = [entry.rank, *range(1, num_ranked)]
    found = {
        token_id: Logprob(logprob, rank, tokenizer.token_text(token_id) if tokenizer else None)
        for token_id, logprob, rank in zip(entry.token_ids, entry.logprobs, ranks, strict=False)
    }
    for token_id, logprob in zip(
        entry.token_ids[num_ranked:], entry.logprobs[num_ranked:], strict=True
    ):  # listed by the request; those that lead have their rank already
        if token_id not in found:
            found[token_id] = Logprob(logprob, None, tokenizer.token_text(token_id) if tokenizer else None)
    return found
