"""Token counts of a reply, as OpenAI's `usage` object."""

from __future__ import annotations

import msgspec

from quire.text.session import RequestOutput


class PromptTokensDetails(msgspec.Struct):
    cached_tokens: int


class Usage(msgspec.Struct, omit_defaults=True):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails | None = None


class UsageTally:
    """Adds up one HTTP request: each prompt once, however many samples are drawn from it."""

    def __init__(self, *, with_details: bool) -> None:
        self._with_details = with_details
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self._cached_tokens: dict[int, int] = {}

    def note_cached(self, number: int, num_tokens: int) -> None:
        """How many tokens of prompt `number` came from the prefix cache."""
        self._cached_tokens[number] = num_tokens

    def count(self, number: int, output: RequestOutput) -> None:
        """Take in news of prompt `number`."""
        self.note_cached(number, output.num_cached_tokens)
        self.completion_tokens += sum(len(sample.token_ids) for sample in output.outputs)

    @property
    def cached_tokens(self) -> int:
        return sum(self._cached_tokens.values())

    def as_usage(self) -> Usage:
        details = PromptTokensDetails(self.cached_tokens) if self._with_details else None
        return Usage(
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            total_tokens=self.prompt_tokens + self.completion_tokens,
            prompt_tokens_details=details,
        )
