"""A row whose logits are not finite fails alone: its neighbours say what they say without it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from quire.base.messages import EngineRequest, SamplingParams, TokenEvent
from quire.engine.client import InProcessClient
from tests.model.tiny import engine_config, random_prompts, tiny_checkpoint

POISON = 77  # the token whose embedding is NaN


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny_checkpoint("llama", tmp_path_factory.mktemp("poisoned"))
    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors["model.embed_tokens.weight"][POISON] = torch.nan
    save_file(tensors, path, metadata={"format": "pt"})
    return folder


def run(folder: Path, prompts: list[list[int]], **sampling: object) -> dict[str, list[TokenEvent]]:
    client = InProcessClient(engine_config(folder), audit_steps=True)
    for number, prompt in enumerate(prompts):
        params = SamplingParams(max_tokens=6, ignore_eos=True, logit_bias={POISON: -100.0}, **sampling)
        client.submit(
            EngineRequest(request_id=str(number), prompt_token_ids=prompt, sampling=params, seed=number)
        )
    events: dict[str, list[TokenEvent]] = {}
    while client.has_work:
        for event in client.step():
            events.setdefault(event.request_id, []).append(event)
    assert client.stats.num_blocks_used == 0
    return events


def healthy_prompts() -> list[list[int]]:
    return [
        [token for token in prompt if token != POISON] for prompt in random_prompts((5, 9, 20, 33, 7, 40, 12))
    ]


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_one_nan_row_of_eight_errors_and_seven_are_equal(poisoned, temperature):
    healthy = healthy_prompts()
    alone = run(poisoned, healthy, temperature=temperature, logprobs=2)
    together = run(poisoned, [*healthy, [3, POISON, 4]], temperature=temperature, logprobs=2)
    (failed,) = together.pop("7")
    assert failed.finish_reason == "error" and "NaN" in failed.error
    for number, events in alone.items():
        assert [event.token_ids for event in events] == [event.token_ids for event in together[number]]
        assert [event.logprobs for event in events] == [event.logprobs for event in together[number]]


def test_a_prompt_that_cannot_be_scored_fails_alone(poisoned):
    healthy = healthy_prompts()[0]
    events = run(poisoned, [healthy, [3, POISON, 4, 5]], temperature=0.0, prompt_logprobs=1)
    assert events["1"][-1].finish_reason == "error"
    assert events["0"][-1].finish_reason == "length"
    assert len(events["0"][0].prompt_logprobs) == len(healthy)
