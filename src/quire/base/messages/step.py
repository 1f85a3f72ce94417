"""One step: the plan the scheduler hands down and the result the worker hands up."""

from __future__ import annotations

import msgspec

from quire.base.constraints import Constraint
from quire.base.messages.events import PositionLogprobs
from quire.base.messages.pooling import PooledRows, PoolingParams
from quire.base.messages.request import PromptEmbeddings, ThinkingBudget
from quire.base.messages.sampling import SamplingParams


class SequenceStart(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Tells the worker about a sequence it does not know (new, forked, or back after preemption).

    `token_ids` is all that is known: prompt, then outputs so far; `num_prompt_tokens` splits them.
    `sample_index` counts the samples of one request (0 … n-1) and keys randomness together with `seed`. With
    `pooling` the sequence is pooled at its end and never sampled.
    """

    sequence_id: int
    token_ids: list[int]
    num_prompt_tokens: int
    sampling: SamplingParams
    seed: int
    sample_index: int = 0
    eos_token_ids: list[int] = []
    bad_words_token_ids: list[list[int]] = []
    constraint: Constraint | None = None
    thinking: ThinkingBudget | None = None
    pooling: PoolingParams | None = None
    embeddings: PromptEmbeddings | None = None

    @property
    def prompt_token_ids(self) -> list[int]:
        """Empty where the prompt is vectors: its ids only hold their places."""
        return [] if self.embeddings is not None else self.token_ids[: self.num_prompt_tokens]


class Chunk(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A sequence's tokens in one step: `token_ids` stand at positions `start` … `start + len - 1`.

    `block_ids` is the sequence's whole table: block i holds positions [i * block_size, (i+1) * block_size). An
    encoder has none, and its chunks are whole sequences.
    `num_samples` tokens are drawn from the last position's logits: 0 while the prompt goes on, 1 as a
    rule, n where a request forks (sample indices 0 … n-1); 1 where a pooled sequence is to be pooled.
    `prompt_targets`, when prompt log-probabilities are wanted, are the prompt tokens that follow the positions of
    this chunk from its `first_target` on (one fewer at the prompt's end); each is scored with
    `num_prompt_logprobs` leading tokens and those of `prompt_listed`.
    """

    sequence_id: int
    token_ids: list[int]
    start: int
    block_ids: list[int]
    num_samples: int = 0
    prompt_targets: list[int] = []
    first_target: int = 0
    num_prompt_logprobs: int = 0
    prompt_listed: list[int] = []

    @property
    def end(self) -> int:
        """Position after the last token; the sequence's length in KV once this step is done."""
        return self.start + len(self.token_ids)


class StepPlan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What to compute now. Order of work: forget `ended`, meet `starts`, copy blocks, run `chunks`."""

    step_id: int
    starts: list[SequenceStart] = []
    chunks: list[Chunk] = []
    copies: list[tuple[int, int]] = []  # (source block, destination block)
    ended: list[int] = []

    @property
    def num_tokens(self) -> int:
        return sum(len(chunk.token_ids) for chunk in self.chunks)


class SampledRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one sample of one chunk came to: new tokens, pooled states, or the error that fails this row alone."""

    sequence_id: int
    sample_index: int = 0
    token_ids: list[int] = []
    logprobs: list[PositionLogprobs] | None = None
    error: str | None = None
    pooled: PooledRows | None = None


class StepResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The facts of one step. `prompt_logprobs` holds, per sequence, one entry for each target; `forward_s` is how
    long the network took, sampling left out."""

    step_id: int
    rows: list[SampledRow] = []
    prompt_logprobs: dict[int, list[PositionLogprobs]] = {}
    forward_s: float = 0.0
