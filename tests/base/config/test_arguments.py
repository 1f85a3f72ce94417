"""The command line's spelling: dashes, negations, lists, JSON and dotted keys, repetitions, typing errors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quire.base.config import SETTINGS, Asked
from quire.base.errors import ConfigError


def ask(*words: str) -> Asked:
    return Asked.from_arguments(words, {})


@pytest.mark.parametrize(
    "words",
    [
        ["--max-model-len", "4096"],
        ["--max_model_len", "4096"],
        ["--max-model_len=4096"],
        ["--max-model-len=4K"],
        ["--max-model", "4096"],  # unambiguous beginnings are enough, as argparse users expect
    ],
)
def test_spellings_of_one_option(words):
    assert ask(*words)["max_model_len"] == 4096


@pytest.mark.parametrize(
    "words",
    [["model-a"], ["--port", "80", "model-a"], ["model-a", "--port", "80"], ["--model", "model-a"]],
)
def test_model_wherever_it_stands(words):
    assert ask(*words)["model"] == "model-a"


def test_first_word_wins_over_model_option_and_says_so():
    asked = ask("model-a", "--model", "model-b")
    assert asked["model"] == "model-a"
    assert any("--model is ignored" in warning for warning in asked.warnings)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("--enable-prefix-caching", True),
        ("--no-enable-prefix-caching", False),
        ("--no_enable_prefix_caching", False),
        ("--disable-prefix-caching", False),
    ],
)
def test_yes_and_no(word, value):
    assert ask(word)["enable_prefix_caching"] is value


def test_disable_options_have_an_enable_twin():
    assert ask("--disable-uvicorn-access-log")["disable_uvicorn_access_log"] is True
    assert ask("--enable-uvicorn-access-log")["disable_uvicorn_access_log"] is False


def test_lists_take_words_repetitions_and_json():
    assert ask("m", "--served-model-name", "a", "b")["served_model_name"] == ["a", "b"]
    assert ask("--api-key", "a", "--api-key", "b")["api_key"] == ["a", "b"]
    assert ask("--allowed-origins", '["https://a", "https://b"]')["allowed_origins"] == [
        "https://a",
        "https://b",
    ]


def test_json_whole_and_by_dotted_keys():
    assert ask("--hf-overrides", '{"a": {"b": 1}}')["hf_overrides"] == {"a": {"b": 1}}
    asked = ask(
        "--hf-overrides", '{"a": {"b": 1}}',
        "--hf_overrides.a.c", "4K",
        "--hf-overrides.rope_scaling.factor=2.5",
        "--hf-overrides.names+", "x,y",
        "--hf-overrides.names+=z",
        "--hf-overrides.offset", "-3",
        "--hf-overrides.kind", "yarn",
    )  # fmt: skip
    assert asked["hf_overrides"] == {
        "a": {"b": 1, "c": 4096},
        "rope_scaling": {"factor": 2.5},
        "names": ["x", "y", "z"],
        "offset": -3,
        "kind": "yarn",
    }
    # keys after the first dot keep their spelling
    assert ask("--hf-overrides.rope-theta_x", "1")["hf_overrides"] == {"rope-theta_x": 1}


@pytest.mark.parametrize(
    ("words", "dest", "value"),
    [
        (["-tp", "2"], "tensor_parallel_size", 2),
        (["-tp=2"], "tensor_parallel_size", 2),
        (["-pp", "2"], "pipeline_parallel_size", 2),
        (["-dp", "2"], "data_parallel_size", 2),
        (["-ep"], "enable_expert_parallel", True),
        (["-q", "int8"], "quantization", "int8"),
        (["-n", "2", "-r", "1"], "node_rank", 1),
        (["-O2"], "optimization_level", 2),
        (["-O=3"], "optimization_level", 3),
        (["-O", "0"], "optimization_level", 0),
        (["-cc.mode=3"], "compilation_config", {"mode": 3}),
        (["-sc.method", "ngram", "-sc.num_speculative_tokens=4"], "speculative_config",
         {"method": "ngram", "num_speculative_tokens": 4}),
        (["-ac.backend=FLASH_ATTN"], "attention_config", {"backend": "FLASH_ATTN"}),
        (["-cc", '{"cudagraph_capture_sizes": [1, 2]}'], "compilation_config", {"cudagraph_capture_sizes": [1, 2]}),
        (["-sc", '{"max_model_len": 4K, "model": "4K"}'], "speculative_config",
         {"max_model_len": 4096, "model": "4K"}),
        (["--hf-token"], "hf_token", "true"),
        (["--hf-token", "abc"], "hf_token", "abc"),
        (["--moe-backend", "Deep-GEMM"], "moe_backend", "deep_gemm"),
        (["--quantization", "None"], "quantization", None),
        (["--cudagraph-capture-sizes", "1", "2", "4"], "cudagraph_capture_sizes", [1, 2, 4]),
        (["--max-num-batched-tokens", "2k"], "max_num_batched_tokens", 2000),
        (["--kv-cache-memory-bytes", "25.6g"], "kv_cache_memory_bytes", 25_600_000_000),
        (["--disable-custom-all-reduce"], "disable_custom_all_reduce", True),
        (["--no-disable-custom-all-reduce"], "disable_custom_all_reduce", False),
        (["--enable-lora"], "enable_lora", True),
        (["--disable-lora"], "enable_lora", False),
    ],
)  # fmt: skip
def test_documented_spellings(words, dest, value):
    assert ask(*words)[dest] == value


@pytest.mark.parametrize("option", ["--long-prefill-token-threshold", "--block-size", "--seed"])
def test_suffixes_stand_only_where_they_are_documented(option):
    with pytest.raises(ConfigError, match=f"^{option}: '4K' is not allowed"):
        ask(option, "4K")


def test_the_option_for_the_model_says_where_the_model_belongs():
    assert any("the first word after `quire serve`" in warning for warning in ask("--model", "m").warnings)
    assert not ask("m").warnings


def test_last_repetition_counts_with_a_warning():
    asked = ask("--port", "1", "--port", "2", "--hf-overrides.a", "1", "--hf-overrides.a", "2")
    assert (asked["port"], asked["hf_overrides"]) == (2, {"a": 2})
    assert len(asked.warnings) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--prot", "80"], r"^--prot is not an option; the nearest are --port, --\S+, --\S+$"),
        (["--max-modellen=3"], r"^--max-modellen is not an option; the nearest are --max-model-len, "),
        (
            ["--tensor-parallel-sizes", "2"],
            r"^--tensor-parallel-sizes is not an option; the nearest are --tensor",
        ),
        (["--task", "embed"], r"^--task is not an option; say what the model is for with --runner"),
        (["--config", "a.yaml", "--config", "b.yaml"], r"^--config is given more than once"),
        (["--served-model-name", "a", "org/model"], r"^--served-model-name a org/model names no model"),
        (["-tp", "two"], r"^-tp: 'two' is not allowed; give an integer of at least 1"),
        (
            ["--speculative-config", '{"modle": "x"}'],
            r"'modle' is not a field of SpeculativeConfig.* 'model'$",
        ),
        (["-cc.moed=3"], r"^-cc\.moed: 'moed' is not a field of CompilationConfig; the nearest is 'mode'$"),
        (["-cc.pass_config.x", "1"], r"'x' is not a field of pass_config"),
        (["--port"], r"^--port needs a value"),
        (["--api-key"], r"^--api-key needs at least one value"),
        (["--hf-overrides.a"], r"^--hf-overrides\.a needs a value"),
        (["--hf-overrides", '{"a": 1}', "--hf-overrides.a.b", "1"], r"a already holds a plain value"),
        (
            ["--hf-overrides", '{"a": 1}', "--hf-overrides.a+", "1"],
            r"a already holds a plain value, not a list",
        ),
        (["--enable-prefix-caching=yes"], r"^--enable-prefix-caching takes no value"),
        (["--max", "3"], r"^--max is short for several options: "),
        (["a", "b"], r"^'b' is one word too many"),
        (["--port.x", "1"], r"^--port\.x is not an option"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(words, message):
    with pytest.raises(ConfigError, match=message) as caught:
        ask(*words)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def is_allowed(kind, text: str) -> bool:
    try:
        kind.read(text)
    except ValueError:
        return False
    return True


def test_every_option_of_the_table_is_read():
    samples = {
        "INTEGER": "3",
        "TOKENS": "64",
        "NUMBER": "0.5",
        "JSON": "{}",
        "TOKEN": "x",
        "TEXT": "x",
        "PATH": "x",
    }
    for setting in SETTINGS.all:
        if not setting.has_flag or setting.name in ("config", "model"):
            continue
        kind = setting.kind
        word = kind.choices[-1] if kind.choices else samples.get(kind.metavar, "")
        if kind.metavar == "INTEGER":
            word = next(text for text in ("3", "64", "4096") if is_allowed(kind, text))
        words = ["m", setting.flag] if kind.is_switch else ["m", setting.flag, word]
        assert ask(*words).origin(setting.dest) == ("flag", setting.flag)


OPTIONS = st.sampled_from([setting.flag for setting in SETTINGS.all if setting.name != "config"])
WORDS = st.one_of(
    OPTIONS,
    st.builds("{}={}".format, OPTIONS, st.text(max_size=5)),
    st.builds("{}.{} ".format, OPTIONS, st.text("ab.+", max_size=4)),
    st.sampled_from(["--", "-", "-x", "--=", "{", "[", "[1]", '{"a": {}}', "-1", "None", "", "4K"]),
    st.text(max_size=6),
)


@given(st.lists(WORDS, max_size=6))
def test_any_words_are_read_or_refused_in_one_sentence(words):
    try:
        asked = ask(*words)
    except ConfigError as error:
        assert str(error)
        assert error.exit_code == 2
    else:
        assert asked.given.keys() <= SETTINGS.by_dest.keys()
