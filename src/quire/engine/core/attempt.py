"""A step that raises is tried again in halves, until what cannot be computed is alone: only that ends with an error.

This also is the answer to memory that does not suffice for a step: half a step needs half of it, and a prompt's chunk
can be halved, too. Trying again is safe: a chunk writes the same keys and values to the same places, the sampler
takes in tokens only when a whole call has succeeded, and a row is computed alike in any company.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

import msgspec

from quire.base.commands import Command
from quire.base.constraints import Constraint
from quire.base.messages import Chunk, PositionLogprobs, SampledRow, StepPlan, StepResult

logger = logging.getLogger(__name__)
T = TypeVar("T")

MIN_SPLIT_TOKENS = 32  # a chunk shorter than this is not what memory runs out over


class Executor(Protocol):
    """Runs plans. One plan in, one result out, in order. A plan that raised comes again, whole or in parts."""

    def execute(self, plan: StepPlan) -> StepResult: ...

    def prepare(self, constraint: Constraint) -> Future[Any]:
        """Begins to compile; done when sequences with this constraint may start. Holds up no step meanwhile."""
        ...

    def answer(self, command: Command[T]) -> T:
        """Carries out one of commands.WorkerCommand; raises before it changes anything."""
        ...


def execute_in_parts(executor: Executor, plan: StepPlan) -> StepResult:
    """The plan's result; chunks that raise even on their own become rows with an error."""
    try:
        return executor.execute(plan)
    except Exception as error:  # whatever a step raises ends its culprits, not the engine
        if not plan.chunks:
            raise
        logger.warning("step %d raised %s: %s", plan.step_id, type(error).__name__, error)
        return _halves(executor, plan, error)


def _halves(executor: Executor, plan: StepPlan, error: Exception) -> StepResult:
    parts = _split(plan.chunks, is_short_of_memory(error))
    if len(parts) == 1:
        chunk = plan.chunks[0]
        logger.error("step %d: sequence %d fails", plan.step_id, chunk.sequence_id, exc_info=error)
        text = f"the engine could not compute this sequence's step ({type(error).__name__})"
        return StepResult(step_id=plan.step_id, rows=[SampledRow(sequence_id=chunk.sequence_id, error=text)])
    rows: list[SampledRow] = []
    prompt_logprobs: dict[int, list[PositionLogprobs]] = {}
    forward_s = 0.0
    for chunks in parts:
        members = {chunk.sequence_id for chunk in chunks}
        starts = [start for start in plan.starts if start.sequence_id in members]
        part = msgspec.structs.replace(plan, chunks=chunks, starts=starts)
        result = execute_in_parts(executor, part)
        rows += result.rows
        forward_s += result.forward_s
        for sequence_id, entries in result.prompt_logprobs.items():
            prompt_logprobs.setdefault(sequence_id, []).extend(entries)
        if len(plan.chunks) == 1 and result.rows and result.rows[0].error is not None:
            break  # without its beginning the rest of a chunk is worth nothing
        plan = msgspec.structs.replace(plan, copies=[], ended=[])  # the first part has done them
    return StepResult(
        step_id=plan.step_id,
        rows=_once_failed(rows),
        prompt_logprobs=prompt_logprobs,
        forward_s=forward_s,
    )


def is_short_of_memory(error: Exception) -> bool:
    """torch says so in words: on CPU its allocator raises a plain RuntimeError."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or "allocate memory" in text or "out of memory" in text


def _split(chunks: list[Chunk], may_divide_chunk: bool) -> list[list[Chunk]]:
    """Two lists of chunks, or the two ends of a single chunk; one list when it cannot be divided."""
    if len(chunks) > 1:
        middle = len(chunks) // 2
        return [chunks[:middle], chunks[middle:]]
    (chunk,) = chunks
    is_whole_by_nature = not chunk.block_ids  # an encoder's
    if not may_divide_chunk or is_whole_by_nature or len(chunk.token_ids) < MIN_SPLIT_TOKENS:
        return [chunks]
    middle = len(chunk.token_ids) // 2
    num_first_targets = max(0, middle - chunk.first_target)
    first = msgspec.structs.replace(
        chunk,
        token_ids=chunk.token_ids[:middle],
        prompt_targets=chunk.prompt_targets[:num_first_targets],
        num_samples=0,
    )
    last = msgspec.structs.replace(
        chunk,
        token_ids=chunk.token_ids[middle:],
        start=chunk.start + middle,
        prompt_targets=chunk.prompt_targets[num_first_targets:],
        first_target=max(0, chunk.first_target - middle),
    )
    return [[first], [last]]


def _once_failed(rows: list[SampledRow]) -> list[SampledRow]:
    """A sequence of which any part failed has failed: one row says so."""
    broken: dict[int, SampledRow] = {}
    for row in rows:
        if row.error is not None:
            broken.setdefault(row.sequence_id, row)
    return [row for row in rows if row.sequence_id not in broken] + list(broken.values())
