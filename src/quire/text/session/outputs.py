"""What a caller gets back: RequestOutput and its CompletionOutputs. Names and fields are vLLM's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from quire.base.messages import FinishReason, RequestTimes


@dataclass(slots=True)
class Logprob:
    """One token's log-probability at one position. `rank` counts from 1; no `decoded_token` with `detokenize` off."""

    logprob: float
    rank: int | None = None
    decoded_token: str | None = None


# by position: its tokens, the one that stands there first; None where a prompt's position has none
PositionList: TypeAlias = Sequence[dict[int, Logprob] | None]


@dataclass(slots=True)
class CompletionOutput:
    """One sample of a request.

    `text`, `token_ids` and `logprobs` hold everything so far, or only what is new when the request asked for
    deltas. `cumulative_logprob` is always the sum over everything so far. `stop_reason` is the stop string or
    stop token id that ended the sample (None for EOS). `error` explains `finish_reason` "error".
    """

    index: int
    text: str
    token_ids: list[int]
    cumulative_logprob: float | None = None
    logprobs: Sequence[dict[int, Logprob]] | None = None
    finish_reason: FinishReason | None = None
    stop_reason: int | str | None = None
    error: str | None = None

    def finished(self) -> bool:
        return self.finish_reason is not None


@dataclass(slots=True)
class RequestOutput:
    """News of one request. `outputs` holds the samples this output is about, in order of their index.

    With deltas, only samples with news are listed and `prompt_logprobs` comes once; otherwise every sample is
    listed. `times` (time.monotonic() stamps) comes with the last output, the one with `finished` set. A prompt of
    vectors has no `prompt_token_ids`.
    """

    request_id: str
    prompt: str | None
    prompt_token_ids: list[int]
    outputs: list[CompletionOutput]
    finished: bool
    prompt_logprobs: PositionList | None = None
    num_cached_tokens: int = 0
    num_preemptions: int = 0
    times: RequestTimes | None = None
