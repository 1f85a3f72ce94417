"""Sequence: one token stream as the scheduler sees it. Only `Scheduler` changes it."""

from __future__ import annotations

from dataclasses import dataclass, field

from quire.base.messages import EngineRequest, PositionLogprobs, RequestTimes
from quire.engine.kv import BlockTable


@dataclass(slots=True, eq=False)
class Sequence:
    """`token_ids` is prompt then outputs; `num_computed` of them stand in the KV cache.

    A sequence decodes when exactly one token is left to compute; before that it prefills, be it the prompt
    or, after a preemption, prompt and outputs again.
    """

    sequence_id: int
    request: EngineRequest
    token_ids: list[int]
    table: BlockTable
    sample_index: int = 0
    num_computed: int = 0
    num_cached_tokens: int = 0  # of the prompt, found in the prefix cache at first admission
    num_preemptions: int = 0
    is_known_to_worker: bool = False
    has_forked: bool = False
    prompt_logprobs: list[PositionLogprobs | None] = field(default_factory=list)
    scheduled_s: float = 0.0
    first_token_s: float = 0.0

    @property
    def num_prompt_tokens(self) -> int:
        return len(self.request.prompt_token_ids)

    @property
    def num_outputs(self) -> int:
        return len(self.token_ids) - self.num_prompt_tokens

    @property
    def num_to_compute(self) -> int:
        return len(self.token_ids) - self.num_computed

    @property
    def reads_prefix(self) -> bool:
        """Whether blocks that others computed will do: not where something of every token is wanted."""
        pooling = self.request.pooling
        if pooling is not None:
            return not pooling.skip_reading_prefix_cache
        return not (self.wants_prompt_logprobs or self.request.sampling.skip_reading_prefix_cache)

    @property
    def wants_prompt_logprobs(self) -> bool:
        """Still owed: they are collected while the prompt is first computed and sent with the first token."""
        return self.request.sampling.prompt_logprobs is not None and self.num_outputs == 0

    @property
    def first_scored(self) -> int:
        """The first prompt position with log-probabilities; none can be given of position 0."""
        return max(1, self.request.sampling.prompt_logprob_start or 0)

    @property
    def rank(self) -> tuple[int, float, int]:
        """Order under the priority policy: lowest first; later arrivals and samples are preempted first."""
        return (self.request.priority, self.request.arrival_s, self.sequence_id)

    def times(self, finished_s: float) -> RequestTimes:
        return RequestTimes(self.request.arrival_s, self.scheduled_s, self.first_token_s, finished_s)
