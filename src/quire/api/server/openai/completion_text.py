"""CompletionText: one choice of a completion in the making, taken once when whole or piece by piece."""

from __future__ import annotations

from msgspec import UNSET

from quire.api.server.openai.logprobs import LogprobSpeller
from quire.api.server.openai.protocol_completions import CompletionChoice, CompletionRequest
from quire.api.server.openai.protocol_logprobs import CompletionLogprobs, PromptLogprobs
from quire.base.messages import EngineRequest
from quire.text.session import CompletionOutput, PositionList


class CompletionText:
    """Collects deltas with `add`; `take` hands out what came since the last `take`.

    With `echo` the prompt comes first, in text, ids and log-probabilities alike. With `max_tokens` 0 (echo only)
    the single token the engine drew is left out.
    """

    def __init__(
        self, fields: CompletionRequest, request: EngineRequest, speller: LogprobSpeller, echo: str | None
    ) -> None:
        self._fields = fields
        self._request = request
        self._speller = speller
        self._echo = echo
        self._shows_output = fields.max_tokens != 0
        self._is_first = True
        self._knows_prompt = False
        self._text = echo or ""
        self._token_ids: list[int] = []
        self._logprobs = CompletionLogprobs()
        self._offset = 0
        self._prompt_logprobs: PromptLogprobs | None = None
        self._finish_reason: str | None = None
        self._stop_reason: int | str | None = None

    @property
    def has_news(self) -> bool:
        """Whether `take` would show anything."""
        wants_tokens = self._fields.logprobs is not None or self._fields.return_token_ids
        return bool(self._text or self._finish_reason or (wants_tokens and self._token_ids))

    def add(self, sample: CompletionOutput, prompt_logprobs: PositionList | None) -> None:
        if prompt_logprobs is not None and not self._knows_prompt:
            self._knows_prompt = True
            self._add_prompt(prompt_logprobs)
        if self._shows_output:
            self._text += sample.text
            self._token_ids += sample.token_ids
            if sample.logprobs is not None:
                self._offset = self._speller.extend_completion(
                    self._logprobs, sample.logprobs, sample.token_ids, self._offset
                )
        if sample.finish_reason is not None:
            self._finish_reason = sample.finish_reason if self._shows_output else "length"
            self._stop_reason = sample.stop_reason if self._shows_output else None

    def _add_prompt(self, positions: PositionList) -> None:
        if self._fields.prompt_logprobs is not None:
            self._prompt_logprobs = self._speller.prompt(positions)
        if self._echo is not None and self._fields.logprobs is not None:
            self._offset = self._speller.extend_completion(
                self._logprobs, positions, self._request.prompt_token_ids, self._offset
            )

    def take(self, index: int) -> CompletionChoice:
        choice = CompletionChoice(
            index=index,
            text=self._text,
            logprobs=self._logprobs if self._fields.logprobs is not None else None,
            finish_reason=self._finish_reason,
            stop_reason=self._stop_reason,
        )
        if self._fields.return_token_ids:
            choice.token_ids = self._token_ids
            has_ids = self._is_first and self._request.embeddings is None
            choice.prompt_token_ids = self._request.prompt_token_ids if has_ids else UNSET
        if self._prompt_logprobs is not None:
            choice.prompt_logprobs = self._prompt_logprobs
            self._prompt_logprobs = None
        self._is_first = False
        self._text, self._token_ids, self._logprobs = "", [], CompletionLogprobs()
        return choice
