"""The built-in model answers: every held-out task is scored on what the engine says, in one batch."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from quire import LLM, SamplingParams
from quire.api.bench.tasks import read_tasks
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
def prompts(score):
    template = ChatTemplate.load(builtin_folder())
    return [
        {
            "prompt": template.render(
                probe["messages"],
                tools=probe["tools"] or None,
                template_kwargs={"enable_thinking": True} if probe["enable_thinking"] else None,
            ),
            "add_special_tokens": False,
        }
        for probe in read_tasks(score.HELDOUT)
    ]


@pytest.fixture(scope="module")
def ask(score, prompts):
    """Scores, by task, of the model as the engine runs it with these settings."""

    def scores(**settings):
        heldout = read_tasks(score.HELDOUT)
        params = SamplingParams(temperature=0.0, max_tokens=score.MAX_TOKENS)
        outputs = LLM(max_num_seqs=128, **settings).generate(prompts, params, use_tqdm=False)
        answers = {
            probe["id"]: output.outputs[0].text for probe, output in zip(heldout, outputs, strict=True)
        }
        return score.score_answers(heldout, answers)

    return scores


@pytest.fixture(scope="module")
def scores(ask):
    return ask()


def accuracy(scores):
    return sum(task["right"] for task in scores.values()) / sum(task["total"] for task in scores.values())


@pytest.mark.timeout(300)
def test_held_out_questions_are_answered_right(score, scores):
    weak = {
        task: (result["accuracy"], result["wrong"][:5])
        for task, result in scores.items()
        if result["accuracy"] < score.REQUIRED_ACCURACY
    }
    assert not weak


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("settings", "allowed_loss"),
    [
        ({"quantization": "int8"}, 0.01),
        *(
            ({"quantization": "int4", "int4_group_size": size, "int4_activations": inputs}, 0.03)
            for size in (32, 64, 128)
            for inputs in ("int8", "exact")
        ),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_quantised_weights_answer_as_well(ask, scores, settings, allowed_loss):
    assert accuracy(ask(**settings)) >= accuracy(scores) - allowed_loss
