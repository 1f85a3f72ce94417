"""Steps for which memory does not suffice: computed in smaller ones, to the same tokens."""

from __future__ import annotations

import pytest

from quire.base.messages import StepPlan, StepResult
from quire.engine.core import EngineCore
from tests.engine.paper_executor import PaperExecutor, paper_stream
from tests.engine.workload import drive, engine_config, request, tokens

PROMPTS = [list(range(40)) * 3, [7] * 70, [1, 2, 3]]


class NarrowExecutor(PaperExecutor):
    """Has memory for so many tokens; it finds out before it writes anything, or when all is written."""

    def __init__(self, *arguments: int, max_tokens: int, writes_first: bool) -> None:
        super().__init__(*arguments)
        self.max_tokens = max_tokens
        self.writes_first = writes_first
        self.num_raised = 0

    def execute(self, plan: StepPlan) -> StepResult:
        result = super().execute(plan) if self.writes_first else None
        if plan.num_tokens > self.max_tokens:
            self.num_raised += 1
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
        return result or super().execute(plan)


def engine(**how: int | bool) -> tuple[EngineCore, NarrowExecutor]:
    config = engine_config(num_blocks=256, max_num_batched_tokens=256)
    executor = NarrowExecutor(config.cache.num_blocks, config.cache.block_size, **how)
    return EngineCore(config, executor, audit_steps=True), executor


@pytest.mark.parametrize("writes_first", [False, True])
def test_prompts_are_halved_and_nobody_notices(writes_first):
    core, executor = engine(max_tokens=35, writes_first=writes_first)
    for number, prompt in enumerate(PROMPTS):
        core.submit(request(str(number), prompt, n=1 + number % 2, prompt_logprobs=0))
    streams = drive(core)
    assert executor.num_raised > 3
    for number, prompt in enumerate(PROMPTS):
        for index in range(1 + number % 2):
            assert tokens(streams[str(number), index]) == paper_stream(prompt, 0, index, 8)
        none, *scored = streams[str(number), 0][0].prompt_logprobs
        assert none is None and [entry.token_ids[0] for entry in scored] == prompt[1:]
    assert core.stats().num_blocks_used == 0


def test_what_is_too_large_alone_fails_alone():
    core, _ = engine(max_tokens=1, writes_first=False)
    core.submit(request("large", PROMPTS[0]))
    core.submit(request("small", [5]))
    streams = drive(core)
    (end,) = streams["large", 0]
    assert end.finish_reason == "error" and "RuntimeError" in end.error
    assert tokens(streams["small", 0]) == paper_stream([5], 0, 0, 8)
