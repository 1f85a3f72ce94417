"""Tokens that a grammar forces come without a step of their own, and change nothing else."""

from __future__ import annotations

import json

import pytest

from quire import LLM, SamplingParams, StructuredOutputsParams
from quire.worker.sampling import state

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 6}, "age": {"type": "integer", "maximum": 99}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
ASKED = [
    {"json": SCHEMA},
    {"json": SCHEMA, "disable_any_whitespace": True},
    {"regex": "[0-9]{3}-[0-9]{2}"},
    {"choice": ["a", "bc", "xyz"]},
    {"json": {"type": "array", "items": {"enum": [1, 22]}, "maxItems": 5}},
]
FIELDS = [
    {"temperature": 0.0},
    {"temperature": 1.0},
    {"temperature": 1.0, "ignore_eos": True},
    {"temperature": 0.7, "repetition_penalty": 1.3, "logit_bias": {5: 3.0}},
    {"temperature": 0.0, "max_tokens": 7},
    {"temperature": 1.0, "min_tokens": 6},
    {"temperature": 1.0, "n": 2},
]


@pytest.fixture(scope="module")
def llm():
    made = LLM(kv_cache_memory_bytes=64 << 20, max_num_batched_tokens=64, max_num_seqs=16)
    run(
        made, {"max_tokens": 1}
    )  # grammars compile beside the steps, so those of a first run cannot be counted
    return made


def run(llm, fields):
    prompts = [f"Number {number} is" for number in range(len(ASKED))]
    params = [
        SamplingParams(
            **{"max_tokens": 60, "seed": 11, **fields, "structured_outputs": StructuredOutputsParams(**one)}
        )
        for one in ASKED
    ]
    before = llm._client.stats.num_steps
    outputs = llm.generate(prompts, params, use_tqdm=False)
    samples = [
        (sample.token_ids, sample.text, sample.finish_reason)
        for output in outputs
        for sample in output.outputs
    ]
    return samples, llm._client.stats.num_steps - before


@pytest.mark.parametrize("fields", FIELDS)
def test_the_same_tokens_come_with_and_without_it(llm, monkeypatch, fields):
    jumping, num_jumping = run(llm, fields)
    monkeypatch.setattr(state, "MAX_JUMP_TOKENS", 0)
    walking, num_walking = run(llm, fields)
    assert jumping == walking
    assert num_jumping <= num_walking
    if fields in FIELDS[:2]:
        assert num_jumping < num_walking
        assert json.loads(jumping[0][1]).keys() == SCHEMA["properties"].keys()


def test_a_forced_reply_takes_one_step(llm):
    params = SamplingParams(
        temperature=0.0, max_tokens=40, structured_outputs=StructuredOutputsParams(regex="\u00e9{6}")
    )
    before = llm._client.stats.num_steps
    (output,) = llm.generate(["x"], params, use_tqdm=False)
    assert output.outputs[0].text == "\u00e9" * 6
    assert len(output.outputs[0].token_ids) == 13  # two to each letter, and the end
    assert llm._client.stats.num_steps - before <= 2
