"""ModelRunner: recorded or as written, the same result; what cannot be recorded runs as written and says why."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import torch

from quire.base.config import EngineConfig
from quire.base.messages import Chunk, SamplingParams, SequenceStart, StepPlan, StepResult
from quire.model.kernels import configure
from quire.model.kernels.cpu import native
from quire.model.loading import load_model
from quire.model.ops import OPS
from quire.worker.runner import ModelRunner, allocate_caches
from tests.model.tiny import BLOCK_SIZE, engine_config, random_prompts, tiny_checkpoint


@pytest.fixture
def config(tmp_path: Path) -> EngineConfig:
    return engine_config(tiny_checkpoint("qwen3", tmp_path / "qwen3"))


def runner_of(config: EngineConfig) -> ModelRunner:
    network = load_model(config)
    return ModelRunner(config, network, allocate_caches(network.cache_shapes, config.cache, torch.float32))


def greedy(runner: ModelRunner, prompts: list[list[int]], num_tokens: int) -> list[StepResult]:
    """Prompts in one step, then one token each, step by step."""
    texts = [list(prompt) for prompt in prompts]
    tables = [[8 * index + block for block in range(8)] for index in range(len(prompts))]
    starts = [
        SequenceStart(
            sequence_id=index,
            num_prompt_tokens=len(prompt),
            token_ids=prompt,
            sampling=SamplingParams(temperature=0.0),
            seed=0,
        )
        for index, prompt in enumerate(prompts)
    ]
    results = []
    done = [0] * len(prompts)
    for step_id in range(num_tokens):
        chunks = [
            Chunk(
                sequence_id=index,
                start=done[index],
                token_ids=text[done[index] :],
                block_ids=tables[index][: -(-len(text) // BLOCK_SIZE)],
                num_samples=1,
            )
            for index, text in enumerate(texts)
        ]
        plan = StepPlan(step_id=step_id, starts=starts if step_id == 0 else [], chunks=chunks)
        result = runner.run(plan)
        done = [len(text) for text in texts]
        for row in result.rows:
            assert row.error is None
            texts[row.sequence_id] += row.token_ids
        assert result.forward_s > 0
        results.append(msgspec.structs.replace(result, forward_s=0.0))  # the clock's part is never the same
    return results


@pytest.mark.skipif(bool(native.refusal()), reason=native.refusal())
def test_recorded_and_as_written_give_the_same_result(config: EngineConfig) -> None:
    prompts = random_prompts((1, 30, 17))
    recorded, written = runner_of(config), runner_of(config)
    assert recorded.forward_explained.startswith("recorded, ")
    written._forward = written.model
    assert greedy(recorded, prompts, 6) == greedy(written, prompts, 6)


def test_without_native_kernels_the_reason_is_told(config: EngineConfig) -> None:
    for op in OPS.values():
        op.__dict__.pop("_chosen", None)
    configure(instruction_set="off")
    try:
        runner = runner_of(config)
        assert runner.forward_explained.startswith("as written, one call per op: cpu: ")
        assert len(greedy(runner, random_prompts((5,)), 2)) == 2
    finally:
        configure()
        for op in OPS.values():
            op.__dict__.pop("_chosen", None)


def test_eager_runs_as_written(config: EngineConfig) -> None:
    eager = runner_of(msgspec.structs.replace(config, records_forward=False))
    assert eager.forward_explained == "as written, one call per op: --enforce-eager says so"
    assert eager._forward is eager.model
