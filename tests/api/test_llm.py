"""LLM offline: prompts in every form, order kept, stop strings, samples, errors before any work."""

from __future__ import annotations

import pytest

from quire import LLM, SamplingParams
from quire.base.errors import CheckpointError, ConfigError, InvalidValue
from tests.model.tiny import tiny_checkpoint

GREEDY = SamplingParams(temperature=0.0, max_tokens=12, ignore_eos=True)


@pytest.fixture(scope="module")
def llm(tmp_path_factory):
    folder = tiny_checkpoint("qwen3", tmp_path_factory.mktemp("tiny"))
    return LLM(str(folder), dtype="float32", max_num_seqs=4, num_gpu_blocks_override=64)


def test_outputs_come_in_the_order_of_the_prompts_and_equal_solo_runs(llm):
    prompts = [f"page {number} " * (number + 1) for number in range(9)]
    together = llm.generate(prompts, GREEDY, use_tqdm=False)
    assert [output.prompt for output in together] == prompts
    for prompt, output in zip(prompts, together, strict=True):
        (alone,) = llm.generate(prompt, GREEDY, use_tqdm=False)
        assert alone.outputs[0].token_ids == output.outputs[0].token_ids
        assert output.finished and output.outputs[0].finish_reason == "length"


def test_text_and_its_token_ids_are_the_same_prompt(llm):
    ids = llm.get_tokenizer().encode("a quire of pages")
    outputs = [
        llm.generate(prompt, GREEDY, use_tqdm=False)[0].outputs[0].token_ids
        for prompt in ("a quire of pages", ids, {"prompt_token_ids": ids}, {"prompt": "a quire of pages"})
    ]
    assert all(output == outputs[0] for output in outputs)


def test_each_prompt_may_have_its_own_parameters(llm):
    params = [SamplingParams(temperature=0.0, max_tokens=n, ignore_eos=True) for n in (1, 5, 3)]
    outputs = llm.generate(["one", "two", "three"], params, use_tqdm=False)
    assert [len(output.outputs[0].token_ids) for output in outputs] == [1, 5, 3]


def test_a_stop_string_ends_the_text_and_frees_the_engine(llm):
    (free,) = llm.generate("a page", GREEDY, use_tqdm=False)
    text = free.outputs[0].text
    stop = text[3:5]
    (stopped,) = llm.generate(
        "a page", SamplingParams(temperature=0.0, max_tokens=400, stop=stop), use_tqdm=False
    )
    assert stopped.outputs[0].text == text[: text.index(stop)]
    assert stopped.outputs[0].stop_reason == stop
    assert not llm._client.has_work and llm._client.stats.num_blocks_used == 0


def test_samples_of_one_prompt_repeat_by_seed(llm):
    params = SamplingParams(n=3, temperature=1.0, seed=4, max_tokens=10, ignore_eos=True)
    first, second = (llm.generate("folded", params, use_tqdm=False)[0] for _ in range(2))
    texts = [sample.token_ids for sample in first.outputs]
    assert texts == [sample.token_ids for sample in second.outputs]
    assert len(set(map(tuple, texts))) > 1


def test_a_bad_prompt_among_good_ones_names_the_field_and_leaves_the_engine_idle(llm):
    with pytest.raises(InvalidValue) as refused:
        llm.generate(["fine", [1, 10**6]], GREEDY, use_tqdm=False)
    assert refused.value.field == "prompt"
    with pytest.raises(InvalidValue) as refused:
        llm.generate(["a", "b"], [GREEDY], use_tqdm=False)
    assert refused.value.field == "sampling_params"
    assert not llm._client.has_work


def test_progress_is_shown_unless_switched_off(llm, capsys):
    llm.generate("a", GREEDY)
    assert "1/1" in capsys.readouterr().err
    llm.generate("a", GREEDY, use_tqdm=False)
    assert capsys.readouterr().err == ""


def test_unknown_settings_and_models_are_refused_by_name():
    with pytest.raises(ConfigError, match="max_num_seqs"):
        LLM(max_num_seq=3)
    with pytest.raises(CheckpointError, match="/no/such/model"):
        LLM("/no/such/model")
