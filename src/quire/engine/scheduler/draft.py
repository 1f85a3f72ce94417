"""PlanDraft: a step under construction. Chunks can be taken out again while blocks are being found."""

from __future__ import annotations

from quire.base.messages import Chunk, SequenceStart, StepPlan
from quire.engine.scheduler.sequence import Sequence


class PlanDraft:
    """Collects chunks under a token budget. `finish` freezes it into the StepPlan."""

    def __init__(self, budget_tokens: int) -> None:
        self.budget_tokens = budget_tokens
        self._chunks: dict[Sequence, tuple[int, list[tuple[int, int]]]] = {}

    def __contains__(self, sequence: Sequence) -> bool:
        return sequence in self._chunks

    def add(self, sequence: Sequence, num_tokens: int, copies: list[tuple[int, int]]) -> None:
        self._chunks[sequence] = (num_tokens, copies)
        self.budget_tokens -= num_tokens

    def num_tokens_of(self, sequence: Sequence) -> int:
        """Tokens of its chunk; 0 when it has none."""
        return self._chunks[sequence][0] if sequence in self._chunks else 0

    def drop(self, sequence: Sequence) -> None:
        """The sequence was preempted: its chunk and copies are void, its tokens go back to the budget."""
        num_tokens, _ = self._chunks.pop(sequence, (0, []))
        self.budget_tokens += num_tokens

    def finish(self, step_id: int, ended: list[int]) -> StepPlan:
        starts = [_start(sequence) for sequence in self._chunks if not sequence.is_known_to_worker]
        for sequence in self._chunks:
            sequence.is_known_to_worker = True
        return StepPlan(
            step_id=step_id,
            starts=starts,
            chunks=[_chunk(sequence, num_tokens) for sequence, (num_tokens, _) in self._chunks.items()],
            copies=[copy for _, copies in self._chunks.values() for copy in copies],
            ended=ended,
        )


def _start(sequence: Sequence) -> SequenceStart:
    request = sequence.request
    return SequenceStart(
        sequence_id=sequence.sequence_id,
        token_ids=list(sequence.token_ids),
        num_prompt_tokens=sequence.num_prompt_tokens,
        sampling=request.sampling,
        seed=request.seed,
        sample_index=sequence.sample_index,
        eos_token_ids=request.eos_token_ids,
        bad_words_token_ids=request.bad_words_token_ids,
        constraint=request.constraint,
        thinking=request.thinking,
        pooling=request.pooling,
        embeddings=request.embeddings,
    )


def _chunk(sequence: Sequence, num_tokens: int) -> Chunk:
    start, end = sequence.num_computed, sequence.num_computed + num_tokens
    forks = sequence.num_outputs == 0 and not sequence.has_forked
    num_samples = (sequence.request.sampling.n if forks else 1) if end == len(sequence.token_ids) else 0
    sampling = sequence.request.sampling
    targets: list[int] = []
    first_target = 0
    if sequence.wants_prompt_logprobs:
        first_target = max(0, sequence.first_scored - 1 - start)
        targets = sequence.request.prompt_token_ids[start + first_target + 1 : end + 1]
    return Chunk(
        sequence_id=sequence.sequence_id,
        token_ids=sequence.token_ids[start:end],
        start=start,
        block_ids=list(sequence.table.block_ids),
        num_samples=num_samples,
        prompt_targets=targets,
        first_target=first_target if targets else 0,
        num_prompt_logprobs=sampling.prompt_logprobs or 0,
        prompt_listed=(sampling.prompt_logprob_token_ids or []) if targets else [],
    )
