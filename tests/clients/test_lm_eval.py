"""`lm-eval` through `local-completions`: echoed prompts with log-probabilities, scored on a task made here.

The same requests are scored by the offline engine: the harness must come to the same sums.
"""

from __future__ import annotations

import json

import pytest

from quire import LLM, SamplingParams
from quire.model.checkpoint import builtin_folder
from tests.clients.conftest import MODEL

lm_eval = pytest.importorskip("lm_eval", reason="lm-eval is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

ROWS = [
    {"question": "17 + 25 =", "choices": [" 42", " 13", " 99"], "answer": 0},
    {"question": "A dog says", "choices": [" purple", " hello", " woof"], "answer": 2},
    {"question": "Once upon a", "choices": [" time", " zebra", " minus"], "answer": 0},
    {"question": "one two", "choices": [" fish", " three", " was"], "answer": 1},
]
TASK = """
task: own_choices
dataset_path: json
dataset_kwargs: {{data_files: {{test: {rows}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_target: answer
doc_to_choice: "{{{{choices}}}}"
target_delimiter: ""
metric_list: [{{metric: acc}}]
"""


@pytest.fixture(scope="module")
def results(url, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lm-eval")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_DATASETS_OFFLINE", "1")
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("HF_DATASETS_CACHE", str(folder / "cache"))
        rows = folder / "rows.jsonl"
        rows.write_text("\n".join(map(json.dumps, ROWS)))
        (folder / "own_choices.yaml").write_text(TASK.format(rows=rows))
        arguments = {
            "model": MODEL,
            "base_url": f"{url}/completions",
            "tokenizer": str(builtin_folder()),
            "tokenizer_backend": "huggingface",
            "num_concurrent": 1,
            "max_retries": 1,
            "tokenized_requests": True,
        }
        yield lm_eval.simple_evaluate(
            model="local-completions",
            model_args=arguments,
            tasks=["own_choices"],
            task_manager=lm_eval.tasks.TaskManager(include_path=str(folder), include_defaults=False),
            batch_size=2,
            log_samples=True,
            bootstrap_iters=0,
        )


def test_every_row_is_scored(results):
    assert len(results["samples"]["own_choices"]) == len(ROWS)
    assert 0.0 <= results["results"]["own_choices"]["acc,none"] <= 1.0


def test_sums_are_those_of_the_offline_engine(results):
    llm = LLM()
    tokenizer = llm.get_tokenizer()
    for sample in results["samples"]["own_choices"]:
        row = sample["doc"]
        for choice, (found, _) in zip(row["choices"], sample["filtered_resps"], strict=True):
            context, whole = (tokenizer.encode(text) for text in (row["question"], row["question"] + choice))
            (output,) = llm.generate(
                [{"prompt_token_ids": whole}], SamplingParams(max_tokens=1, prompt_logprobs=0), use_tqdm=False
            )
            logprobs = [
                position[token].logprob
                for position, token in zip(
                    output.prompt_logprobs[len(context) :], whole[len(context) :], strict=True
                )
            ]
            assert float(found) == pytest.approx(sum(logprobs), abs=1e-3)
