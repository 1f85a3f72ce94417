"""ModelRunner: recorded or as written, the same result; what cannot be recorded runs as written and says why."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import torch

from quire.base.config import EngineConfig
from quire.base.messages import Chunk, PromptEmbeddings, SamplingParams, SequenceStart, StepPlan, StepResult
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


def greedy_starts(prompts: list[list[int]], vectors: dict[int, PromptEmbeddings]) -> list[SequenceStart]:
    """`vectors` stand in for a prompt's tokens."""
    return [
        SequenceStart(
            sequence_id=index,
            num_prompt_tokens=len(prompt),
            token_ids=prompt,
            sampling=SamplingParams(temperature=0.0),
            seed=0,
            embeddings=vectors.get(index),
        )
        for index, prompt in enumerate(prompts)
    ]


def greedy(
    runner: ModelRunner,
    prompts: list[list[int]],
    num_tokens: int,
    vectors: dict[int, PromptEmbeddings] | None = None,
) -> list[StepResult]:
    """Prompts in one step, then one token each, step by step. `vectors` stand in for a prompt's tokens."""
    texts = [list(prompt) for prompt in prompts]
    tables = [[8 * index + block for block in range(8)] for index in range(len(prompts))]
    starts = greedy_starts(prompts, vectors or {})
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
    with written.as_written():
        assert greedy(recorded, prompts, 6) == greedy(written, prompts, 6)


@pytest.mark.skipif(bool(native.refusal()), reason=native.refusal())
def test_scored_prompts_share_a_step_with_others(
    config: EngineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts of a prompt's log-probabilities and the step's own tokens go through the same recorded head."""
    monkeypatch.setattr("quire.worker.runner.runner.PROMPT_LOGPROB_ROWS", 7)
    prompts = random_prompts((30, 9, 17))
    plan = StepPlan(
        step_id=0,
        starts=greedy_starts(prompts, {}),
        chunks=[
            Chunk(
                sequence_id=index,
                start=0,
                token_ids=prompt,
                block_ids=[8 * index + block for block in range(8)],
                num_samples=1,
                prompt_targets=[] if index == 1 else prompt[3:],
                first_target=0 if index == 1 else 2,
                num_prompt_logprobs=2,
            )
            for index, prompt in enumerate(prompts)
        ],
    )
    recorded, written = runner_of(config), runner_of(config)
    got = recorded.run(plan)
    with written.as_written():
        want = written.run(plan)
    assert got.rows == want.rows
    assert [row.sequence_id for row in got.rows] == [0, 1, 2]
    assert got.prompt_logprobs == want.prompt_logprobs
    assert {key: len(entries) for key, entries in got.prompt_logprobs.items()} == {0: 27, 2: 14}


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


def rows_of(runner: ModelRunner, token_ids: list[int]) -> PromptEmbeddings:
    """The rows of the model's own table for these tokens."""
    rows = runner.model.embedding(torch.tensor(token_ids)).contiguous()
    return PromptEmbeddings(dtype="float32", num_tokens=len(token_ids), data=rows.numpy().tobytes())


@pytest.mark.parametrize("records", [False, True])
def test_vectors_in_place_of_tokens_are_computed_as_those_tokens_are(
    config: EngineConfig, records: bool
) -> None:
    runner = runner_of(msgspec.structs.replace(config, records_forward=records))
    prompts = random_prompts((20, 7))
    expected = greedy(runner, prompts, 4)
    vectors = {0: rows_of(runner, prompts[0])}
    placeless = [[0] * 20, prompts[1]]
    runner.run(StepPlan(step_id=9, ended=[0, 1]))
    assert greedy(runner, placeless, 4) != expected
    runner.run(StepPlan(step_id=9, ended=[0, 1]))
    assert greedy(runner, placeless, 4, vectors) == expected
    runner.run(StepPlan(step_id=9, ended=[0, 1]))
    assert not runner._vectors


def test_a_prompt_of_vectors_may_be_split(config: EngineConfig) -> None:
    runner = runner_of(config)
    (prompt,) = random_prompts((20,))
    (expected, *_) = greedy(runner, [prompt], 1)
    start = SequenceStart(
        sequence_id=5,
        num_prompt_tokens=20,
        token_ids=[0] * 20,
        sampling=SamplingParams(temperature=0.0),
        seed=0,
        embeddings=rows_of(runner, prompt),
    )
    for first, end in ((0, 3), (3, 17), (17, 20)):
        chunk = Chunk(
            sequence_id=5,
            start=first,
            token_ids=[0] * (end - first),
            block_ids=list(range(-(-end // BLOCK_SIZE))),
            num_samples=int(end == 20),
        )
        result = runner.run(StepPlan(step_id=first, starts=[start] if not first else [], chunks=[chunk]))
    assert result.rows[0].token_ids == expected.rows[0].token_ids
