"""The rows of one step on their way through the sampler."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby

from quire.base.messages import PositionLogprobs, SampledRow
from quire.worker.sampling.randomness import draw_bits
from quire.worker.sampling.state import SequenceState
from quire.worker.sampling.steps import GrammarMask, Step


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """What one row of logits is for.

    `position` is the index the sampled token will stand at and keys its randomness. `num_samples`, at least
    1, above 1 draws sample indices 0 … n-1 from the same row; with 1 the sequence's own index is drawn.
    """

    sequence_id: int
    num_samples: int
    position: int


@dataclass(slots=True, eq=False)
class Row:
    """One row of the step's logits: filled with a token per sample, or with the error that fails it."""

    index: int
    request: SampleRequest
    state: SequenceState
    steps: list[Step]  # those that are due and not yet applied
    maximum: float  # the row's largest logit
    best: int  # the lowest token id that has it
    tokens: list[int] = field(default_factory=list)
    logprobs: list[PositionLogprobs] | None = None
    error: str | None = None
    asked_after: GrammarMask | None = None  # what tokens have to pass that were chosen without any step
    kept: list[int | None] | None = None  # tokens that have passed, where others of the row have not

    def __post_init__(self) -> None:
        """Where a grammar is all that is due, choose as if there were none and ask it then: mostly no mask is needed.

        A random row that is drawn anew, under the mask, where the grammar refuses has the mask's distribution: with
        a the weight of all allowed tokens, one of weight p is chosen by p + (1 - a) p / a = p / a. Truncation goes
        by what is allowed, so it needs the mask first; and so does a mask that changes logits.
        """
        state = self.state
        if len(self.steps) != 1 or state.num_logprobs is not None or state.truncates:
            return
        step = self.steps[0]
        if isinstance(step, GrammarMask) and (state.is_greedy or not step.trades_end):
            self.asked_after, self.steps = step, []

    def ask_grammar(self) -> None:
        """Keep what the grammar allows of the tokens; the row is open again where that is not all."""
        assert self.asked_after is not None
        passed = [token_id if self.asked_after.allows(token_id) else None for token_id in self.tokens]
        if None in passed:
            self.kept, self.tokens, self.steps = passed, [], [self.asked_after]
        self.asked_after = None

    def take(self, token_ids: list[int]) -> None:
        """A token for each sample, which stands in where none was kept."""
        kept = self.kept or [None] * len(token_ids)
        self.tokens = [new if old is None else old for new, old in zip(token_ids, kept, strict=True)]

    @property
    def is_open(self) -> bool:
        return self.error is None and not self.tokens

    @property
    def is_plain(self) -> bool:
        """Whether the row is no more than the arg max of the model's logits."""
        return self.state.is_greedy and not self.steps and self.state.num_logprobs is None

    @property
    def needs(self) -> tuple[bool, ...]:
        """Rows with equal needs are worked off together."""
        state = self.state
        wants_logprobs = state.num_logprobs is not None
        return bool(self.steps), state.is_greedy, wants_logprobs, wants_logprobs and state.truncates

    @property
    def is_light(self) -> bool:
        """Whether the row is drawn from where it stands, without a copy of its logits."""
        return not self.steps and self.state.num_logprobs is None

    def draws(self) -> list[int]:
        """A number for each sample, see draw_bits; others than before where some of them are drawn again."""
        seed, position, again = self.state.seed, self.request.position, self.kept is not None
        return [draw_bits(seed, position, index, again=again) for index in self.sample_indices]

    @property
    def sample_indices(self) -> list[int]:
        return _sample_indices(self.request, self.state.sample_index)

    def close(self) -> list[SampledRow]:
        """The outcome, one entry per sample. The sequence grows by the first sample's token.

        Tokens that its grammar forces after that come with it: nothing the model could say would change them.
        """
        if self.error is not None:
            return failed(self.request, self.error, self.state.sample_index)
        self.state.append(self.tokens[0])
        forced = self.state.jump() if self.request.num_samples == 1 else []
        return [
            SampledRow(
                sequence_id=self.request.sequence_id,
                sample_index=sample_index,
                token_ids=[self.tokens[place], *forced],
                logprobs=None if self.logprobs is None else [self.logprobs[place]],
            )
            for place, sample_index in enumerate(self.sample_indices)
        ]


def failed(request: SampleRequest, error: str, sample_index: int = 0) -> list[SampledRow]:
    """The outcome of a row that failed: every sample carries the error."""
    return [
        SampledRow(sequence_id=request.sequence_id, sample_index=index, error=error)
        for index in _sample_indices(request, sample_index)
    ]


def alike_chunks(rows: list[Row], rows_at_once: int) -> Iterator[list[Row]]:
    """The rows in groups of equal needs, at most `rows_at_once` in each (light rows: all)."""
    for _, group in groupby(sorted(rows, key=lambda row: row.needs), key=lambda row: row.needs):
        alike = list(group)
        width = len(alike) if alike[0].is_light else rows_at_once
        for begin in range(0, len(alike), width):
            yield alike[begin : begin + width]


def _sample_indices(request: SampleRequest, own_index: int) -> list[int]:
    return [own_index] if request.num_samples == 1 else list(range(request.num_samples))
