"""The built-in model answers: every held-out task is scored on what the engine says, in one batch."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from quire import LLM, SamplingParams
from quire.model.checkpoint import builtin_folder
from quire.text.template import ChatTemplate

SCORER = Path(__file__).parents[2] / "tools/builtin_model/score.py"


@pytest.fixture(scope="module")
def score():
    spec = importlib.util.spec_from_file_location("builtin_score", SCORER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def answers(score):
    template = ChatTemplate.load(builtin_folder())
    heldout = score.read_heldout()
    prompts = [
        {
            "prompt": template.render(
                probe["messages"],
                tools=probe["tools"] or None,
                template_kwargs={"enable_thinking": True} if probe["enable_thinking"] else None,
            ),
            "add_special_tokens": False,
        }
        for probe in heldout
    ]
    params = SamplingParams(temperature=0.0, max_tokens=score.MAX_TOKENS)
    outputs = LLM(max_num_seqs=128).generate(prompts, params, use_tqdm=False)
    return {probe["id"]: output.outputs[0].text for probe, output in zip(heldout, outputs, strict=True)}


@pytest.mark.timeout(300)
def test_held_out_questions_are_answered_right(score, answers):
    scores = score.score_answers(score.read_heldout(), answers)
    weak = {
        task: (result["accuracy"], result["wrong"][:5])
        for task, result in scores.items()
        if result["accuracy"] < score.REQUIRED_ACCURACY
    }
    assert not weak
