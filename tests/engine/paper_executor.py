"""PaperExecutor: a worker on paper. It keeps tokens where a model keeps keys and values, and "samples" a hash
of the history it finds there, so a block lost, shared wrongly or not copied changes the output."""

from __future__ import annotations

import hashlib

from quire.base.commands import Command, FreeKV, Sleep, WakeUp
from quire.base.messages import (
    Chunk,
    PositionLogprobs,
    SampledRow,
    SequenceStart,
    StepPlan,
    StepResult,
)

VOCAB_SIZE = 50


def paper_token(history: list[int], seed: int, sample_index: int) -> int:
    """What a sequence with this history must say next."""
    digest = hashlib.sha256(repr((history, seed, sample_index)).encode()).digest()
    return int.from_bytes(digest[:4], "little") % VOCAB_SIZE


def paper_stream(prompt: list[int], seed: int, sample_index: int, num_tokens: int) -> list[int]:
    """The undisturbed stream: the oracle for whatever the scheduler does."""
    history = list(prompt)
    for _ in range(num_tokens):
        history.append(paper_token(history, seed, sample_index))
    return history[len(prompt) :]


class PaperExecutor:
    """Raises AssertionError on any plan a real worker would choke on."""

    def __init__(self, num_blocks: int, block_size: int) -> None:
        self.slots: list[int | None] = [None] * (num_blocks * block_size)
        self.block_size = block_size
        self.known: dict[int, SequenceStart] = {}
        self.failing_tokens: set[int] = set()  # a history with one of these has non-finite logits
        self.is_broken = False  # the forward pass raises
        self.plans: list[StepPlan] = []
        self.commands: list[Command] = []
        self.is_asleep = False

    def answer(self, command: Command) -> None:
        """Freed memory holds nothing, and a sleeper computes nothing."""
        self.commands.append(command)
        if isinstance(command, Sleep | FreeKV):
            self.slots = [None] * len(self.slots)
        if isinstance(command, Sleep | WakeUp):
            self.is_asleep = isinstance(command, Sleep)

    def execute(self, plan: StepPlan) -> StepResult:
        assert not self.is_asleep
        self.plans.append(plan)
        for sequence_id in plan.ended:
            self.known.pop(sequence_id, None)
        for start in plan.starts:
            self.known[start.sequence_id] = start
        if self.is_broken:
            raise ZeroDivisionError
        for source, destination in plan.copies:
            for offset in range(self.block_size):
                self.slots[destination * self.block_size + offset] = self.slots[
                    source * self.block_size + offset
                ]
        written = [slot for chunk in plan.chunks for slot in self._write(chunk)]
        assert len(written) == len(set(written)), "two tokens written to one slot"
        result = StepResult(step_id=plan.step_id)
        for chunk in plan.chunks:
            self._run(chunk, result)
        return result

    def _slot(self, chunk: Chunk, position: int) -> int:
        return chunk.block_ids[position // self.block_size] * self.block_size + position % self.block_size

    def _write(self, chunk: Chunk) -> list[int]:
        slots = [self._slot(chunk, position) for position in range(chunk.start, chunk.end)]
        for slot, token_id in zip(slots, chunk.token_ids, strict=True):
            self.slots[slot] = token_id
        return slots

    def _run(self, chunk: Chunk, result: StepResult) -> None:
        start = self.known[chunk.sequence_id]
        history = [self.slots[self._slot(chunk, position)] for position in range(chunk.end)]
        assert None not in history, "read a slot nobody wrote"
        tokens = [token for token in history if token is not None]
        if chunk.prompt_targets:
            result.prompt_logprobs[chunk.sequence_id] = [
                PositionLogprobs([target], [-1.0], 1) for target in chunk.prompt_targets
            ]
        for index in range(chunk.num_samples):
            sample_index = start.sample_index if chunk.num_samples == 1 else index
            failed = self.failing_tokens & set(tokens)
            result.rows.append(
                SampledRow(
                    sequence_id=chunk.sequence_id,
                    sample_index=sample_index,
                    token_ids=[] if failed else [paper_token(tokens, start.seed, sample_index)],
                    error="non-finite logits" if failed else None,
                )
            )
