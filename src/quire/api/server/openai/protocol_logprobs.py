"""Log-probabilities on the wire: chat's shape, completions' shape, and vLLM's `prompt_logprobs`."""

from __future__ import annotations

from typing import TypeAlias

import msgspec


class TopLogprob(msgspec.Struct):
    token: str
    logprob: float
    bytes: list[int]


class ContentLogprob(msgspec.Struct):
    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[TopLogprob]


class ChatLogprobs(msgspec.Struct):
    content: list[ContentLogprob]


class CompletionLogprobs(msgspec.Struct):
    """Four lists of equal length, one entry per token. The first prompt token (echo) has no log-probability."""

    tokens: list[str] = []
    token_logprobs: list[float | None] = []
    top_logprobs: list[dict[str, float] | None] = []
    text_offset: list[int] = []


class PromptLogprob(msgspec.Struct):
    logprob: float
    rank: int | None
    decoded_token: str


# per prompt token: None for the first, else by token id
PromptLogprobs: TypeAlias = list[dict[int, PromptLogprob] | None]
