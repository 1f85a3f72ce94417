"""LLM offline: prompts in every form, order kept, stop strings, samples, errors before any work."""

from __future__ import annotations

import pytest

from quire import LLM, SamplingParams
from quire.base.errors import CheckpointError, ConfigError, EngineAsleep, InvalidValue
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


def test_asleep_it_refuses_and_awake_it_says_the_same(tmp_path):
    folder = tiny_checkpoint("qwen3", tmp_path)
    llm = LLM(str(folder), num_gpu_blocks_override=64, enable_sleep_mode=True)
    before = llm.generate("a page", GREEDY, use_tqdm=False)[0].outputs[0].token_ids
    for level, first in ((1, "kv_cache"), (2, "weights"), (0, None)):
        llm.sleep(level)
        assert llm.is_sleeping()
        with pytest.raises(EngineAsleep, match="wake_up"):
            llm.generate("a page", GREEDY, use_tqdm=False)
        if first:
            llm.wake_up([first])
            assert llm.is_sleeping()
        llm.wake_up()
        assert not llm.is_sleeping()
        assert llm.generate("a page", GREEDY, use_tqdm=False)[0].outputs[0].token_ids == before
    for call, field in (
        (lambda: llm.sleep(5), "level"),
        (lambda: llm.wake_up(["dreams"]), "tags"),
        (lambda: llm.collective_rpc("execute", 3.0), "timeout"),
    ):
        with pytest.raises(InvalidValue) as refused:
            call()
        assert refused.value.field == field


def test_the_engine_is_administered_from_the_same_object(llm, tmp_path):
    with pytest.raises(InvalidValue, match="--enable-sleep-mode"):
        llm.sleep()
    with pytest.raises(InvalidValue, match="--profiler-config"):
        llm.start_profile()
    prompt = {"prompt_token_ids": list(range(5, 45))}
    cached = []
    hits = metric(llm, "prefix_cache_hits").value
    for reset in (
        lambda: True,
        lambda: True,
        llm.reset_prefix_cache,
        lambda: llm.release_kv_cache_memory() is None,
    ):
        assert reset() is True
        cached.append(llm.generate(prompt, GREEDY, use_tqdm=False)[0].num_cached_tokens)
    assert cached == [0, 32, 0, 0]
    (count,) = llm.apply_model(lambda model: sum(p.numel() for p in model.parameters()))
    assert (
        llm.collective_rpc(lambda worker, times: times * len(list(worker.model.parameters())), args=(2,))[0]
        > 0
    )
    assert count > 1000 and llm.get_world_size() == 1
    with pytest.raises(InvalidValue, match="no public method"):
        llm.collective_rpc("nothing")
    assert metric(llm, "prefix_cache_hits").value == hits + 32
    assert type(metric(llm, "prefix_cache_hits")).__name__ == "Counter"
    assert metric(llm, "kv_cache_usage_perc").value == 0.0


def metric(llm, name):
    (found,) = [metric for metric in llm.get_metrics() if metric.name == f"vllm:{name}"]
    return found


def test_a_profile_is_taken_of_what_lies_between(tmp_path):
    folder = tiny_checkpoint("qwen3", tmp_path / "model")
    profiler = {"profiler": "torch", "torch_profiler_dir": str(tmp_path / "traces")}
    llm = LLM(str(folder), num_gpu_blocks_override=64, profiler_config=profiler)
    llm.start_profile("mine")
    llm.generate("a page", GREEDY, use_tqdm=False)
    (trace,) = (tmp_path / "traces").iterdir() if (path := llm.stop_profile()) else ()
    assert str(trace) == path and trace.stat().st_size > 1000
