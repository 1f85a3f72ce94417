"""Pooling requests: one event each, prefixes only where the last token will do, encoders whole and without blocks."""

from __future__ import annotations

import struct

import msgspec
import pytest

from quire.base.messages import (
    EngineRequest,
    PooledRows,
    PoolingParams,
    SampledRow,
    StepPlan,
    StepResult,
    TokenEvent,
)
from quire.engine.core import EngineCore
from tests.engine.workload import drive, engine_config, request


class PooledPaper:
    """Answers each sequence's last chunk with the sum of the tokens it was shown since position 0."""

    def __init__(self) -> None:
        self.plans: list[StepPlan] = []
        self.sums: dict[int, int] = {}

    def execute(self, plan: StepPlan) -> StepResult:
        self.plans.append(plan)
        rows = []
        for chunk in plan.chunks:
            seen = self.sums.get(chunk.sequence_id, 0) if chunk.start else 0
            self.sums[chunk.sequence_id] = seen + sum(chunk.token_ids)
            if chunk.num_samples:
                data = struct.pack("f", self.sums[chunk.sequence_id])
                rows.append(SampledRow(sequence_id=chunk.sequence_id, pooled=PooledRows([1], data)))
        return StepResult(step_id=plan.step_id, rows=rows)


def pooling_request(request_id: str, prompt: list[int], *, skips_prefix: bool = True) -> EngineRequest:
    pooling = PoolingParams(task="embed", skip_reading_prefix_cache=skips_prefix)
    return EngineRequest(request_id=request_id, prompt_token_ids=prompt, pooling=pooling)


def engine(**settings) -> tuple[EngineCore, PooledPaper]:
    executor = PooledPaper()
    return EngineCore(engine_config(**settings), executor, audit_steps=True), executor


def ends_of(core: EngineCore) -> list[TokenEvent]:
    """All events until nothing is left."""
    return [event for events in drive(core).values() for event in events]


def test_each_request_ends_with_one_event_that_holds_its_numbers():
    core, executor = engine(max_num_batched_tokens=10)
    prompts = {f"r{number}": list(range(number + 1, 2 * number + 8)) for number in range(6)}
    for request_id, prompt in prompts.items():
        core.submit(pooling_request(request_id, prompt))
    events = ends_of(core)
    assert sorted(event.request_id for event in events) == sorted(prompts)
    for event in events:
        assert event.finish_reason == "stop" and not event.token_ids and event.times is not None
        assert struct.unpack("f", event.pooled.data) == (sum(prompts[event.request_id]),)
    assert max(plan.num_tokens for plan in executor.plans) <= 10
    assert core.stats().num_blocks_used == 0


@pytest.mark.parametrize("skips_prefix", [True, False])
def test_a_cached_prefix_is_read_only_where_it_may_be(skips_prefix):
    core, executor = engine()
    core.submit(pooling_request("first", list(range(20))))
    drive(core)
    core.submit(pooling_request("second", list(range(20)), skips_prefix=skips_prefix))
    (event,) = ends_of(core)
    assert event.num_cached_tokens == (0 if skips_prefix else 16)
    assert executor.plans[-1].chunks[0].start == event.num_cached_tokens


def test_an_encoder_gets_whole_prompts_and_no_blocks():
    core, executor = engine(
        num_blocks=0,
        prefix_caching=False,
        has_kv=False,
        enable_chunked_prefill=False,
        max_num_batched_tokens=16,
    )
    for number, length in enumerate((10, 9, 6, 16, 1)):
        core.submit(pooling_request(f"r{number}", [1] * length))
    drive(core)
    assert [[len(chunk.token_ids) for chunk in plan.chunks] for plan in executor.plans if plan.chunks] == [
        [10],
        [9, 6],
        [16],
        [1],
    ]
    assert all(not chunk.block_ids and chunk.start == 0 for plan in executor.plans for chunk in plan.chunks)
    assert core.stats().num_blocks_used == 0


def test_a_pooling_request_can_be_paused_aborted_and_preempted():
    core, _ = engine(num_blocks=6, max_num_batched_tokens=8)
    for number in range(4):
        core.submit(pooling_request(f"r{number}", [number] * 13))
    core.step()
    core.pause("r0")
    core.abort("r1")
    core.resume("r0")
    ends = {event.request_id: event.finish_reason for event in ends_of(core)}
    assert ends == {"r0": "stop", "r1": "abort", "r2": "stop", "r3": "stop"}


def test_both_kinds_of_request_survive_the_wire():
    for made in (request("a", [1]), pooling_request("b", [1, 2])):
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(made), type=EngineRequest) == made
