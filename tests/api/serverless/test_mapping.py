"""Variables and the command line of `quire serve`: every documented name, and what is given is never passed over."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from tests.api.serverless.given_variables import FORM_DEFAULTS, SEED_DEFAULTS

from quire.api.serverless.mapping import all_variables, plan_server
from quire.api.serverless.newer_variables import RESERVED
from quire.api.serverless.reference import STATES, state_of
from quire.api.serverless.seed_variables import SEED_VARIABLES
from quire.api.serverless.variable import Use
from quire.base.config import SETTINGS, Asked, Table
from quire.base.errors import ConfigError


def with_settings(*names: str) -> Table:
    """The table with these as effective JSON settings, as if they had been built already."""
    model = SETTINGS.by_dest["hf_overrides"]
    others = [setting for setting in SETTINGS.all if setting.name not in names]
    return Table([*others, *(replace(model, name=name) for name in names)])


def test_the_documented_names_are_seventy_eight_and_all_declared():
    names = [variable.name for variable in SEED_VARIABLES]
    assert len(names) == len(set(names)) == 78
    assert sorted(names) == sorted(SEED_DEFAULTS)


def test_every_option_of_the_table_is_a_variable_in_capitals():
    names = {variable.name for variable in all_variables()}
    options = {setting.dest.upper() for setting in SETTINGS.all if setting.has_flag}
    assert options - RESERVED <= names
    assert not RESERVED & {variable.name for variable in all_variables() if variable.use is Use.OPTION}


@pytest.mark.parametrize("environ", [SEED_DEFAULTS, FORM_DEFAULTS])
def test_the_defaults_set_as_variables_make_a_command_line_that_is_read(environ):
    plan = plan_server(environ)
    asked = Asked.from_arguments(plan.arguments, {})
    assert asked["max_num_seqs"] == 256
    assert asked["enable_prefix_caching"] is False
    assert asked["gpu_memory_utilization"] == 0.95
    assert asked.warnings == ()
    assert any("prefix caching is off" in note for note in plan.notes)


@pytest.mark.parametrize("variable", all_variables(), ids=lambda variable: variable.name)
def test_a_value_given_to_any_variable_arrives_is_told_or_is_refused(variable):
    """Nothing is silently ignored: an option, a note naming it, the worker's own, or an error naming it."""
    setting = SETTINGS.by_dest.get(variable.setting.replace("-", "_"))
    raw = "--seed 1" if variable.name == "VLLM_EXTRA_ARGS" else "1"
    if setting is not None and setting.kind.choices:
        raw = [choice for choice in setting.kind.choices if choice != "none"][-1]  # none means unset
    elif setting is not None and setting.kind.is_json and variable.name != "ROPE_THETA":
        raw = '{"a": 1}'
    state, reason = state_of(variable)
    assert state in STATES
    assert reason
    try:
        plan = plan_server({variable.name: raw})
    except ConfigError as error:
        assert variable.name in error.message
        by_value = ("is not allowed; give", "is refused: ")  # an option may be refused for this value alone
        assert state == "refused" or any(words in error.message for words in by_value)
        return
    told = " ".join(plan.notes)
    if variable.use is Use.WORKER:
        assert plan.arguments == (["--seed", "1"] if variable.name == "VLLM_EXTRA_ARGS" else [])
    elif plan.arguments:
        assert variable.setting == "model" or any(word.startswith("--") for word in plan.arguments)
        assert setting is not None
        Asked.from_arguments([word for word in plan.arguments if not word.startswith("--config")], {})
    else:
        assert variable.name in told


@pytest.mark.parametrize("word", ["", "None", "null", "none", "  "])
@pytest.mark.parametrize(
    "name", ["QUANTIZATION", "MAX_MODEL_LEN", "TRUST_REMOTE_CODE", "TENSOR_PARALLEL_SIZE"]
)
def test_empty_and_none_mean_unset(name, word):
    plan = plan_server({name: word})
    assert (plan.arguments, plan.notes) == ([], [])


@pytest.mark.parametrize("word", ["1", "true", "True", "YES", "on"])
def test_true_words(word):
    assert plan_server({"ENABLE_LOG_REQUESTS": word}).arguments == ["--enable-log-requests"]


@pytest.mark.parametrize("word", ["0", "false", "False", "NO", "off"])
def test_false_words(word):
    assert plan_server({"ENABLE_LOG_REQUESTS": word}).arguments == ["--no-enable-log-requests"]


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("ENABLE_PREFIX_CACHING", "maybe"),
        ("MAX_NUM_SEQS", "many"),
        ("DTYPE", "float8"),
        ("GPU_MEMORY_UTILIZATION", "1.5"),
        ("HF_OVERRIDES", "[1]"),
        ("ROPE_SCALING", "linear"),
        ("ROPE_THETA", "-1"),
        ("DISABLE_LOG_REQUESTS", "perhaps"),
        ("QUANTIZATION", "awq"),
        ("VLLM_EXTRA_ARGS", "--x 'open"),
    ],
)
def test_a_wrong_value_is_named(name, raw):
    with pytest.raises(ConfigError, match=name):
        plan_server({name: raw})


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"TENSOR_PARALLEL_SIZE": "2"}, "parallelism"),
        ({"ENABLE_LORA": "1"}, "LoRA"),
        ({"KV_CACHE_DTYPE": "fp8_ds_mla"}, "latent attention"),
        ({"WORKER_USE_RAY": "1"}, "parallelism"),
        ({"SPECULATIVE_MODEL": "x"}, "speculative decoding"),
        ({"TRUST_REMOTE_CODE": "1"}, "never runs code"),
        ({"UDS": "/tmp/x"}, "where its own server listens"),
        ({"SSL_CERTFILE": "/tmp/x"}, "TLS"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(environ, words):
    (name,) = environ
    with pytest.raises(ConfigError, match=f"^{name}=?.* is refused: .*{re.escape(words)}") as caught:
        plan_server(environ)
    assert caught.value.exit_code == 2


def test_a_setting_that_is_refused_here_takes_what_asks_for_nothing():
    model = SETTINGS.by_dest["trust_remote_code"]
    refused = [
        replace(model, name="tensor-parallel-size", kind=SETTINGS.by_dest["block_size"].kind, default=1),
        replace(
            model, name="distributed-executor-backend", kind=SETTINGS.by_dest["model"].kind, default=None
        ),
        replace(model, name="speculative-config", kind=SETTINGS.by_dest["hf_overrides"].kind, default={}),
    ]
    fresh = {setting.name for setting in refused}
    table = Table([*(setting for setting in SETTINGS.all if setting.name not in fresh), *refused])
    taken = {"TENSOR_PARALLEL_SIZE": "1", "DISTRIBUTED_EXECUTOR_BACKEND": "mp", "TRUST_REMOTE_CODE": "false"}
    plan = plan_server(taken, table=table)
    assert "DISTRIBUTED_EXECUTOR_BACKEND=mp" in plan.notes[0]
    for name, raw in (("TENSOR_PARALLEL_SIZE", "2"), ("SPECULATIVE_MODEL", "x")):
        with pytest.raises(ConfigError, match=f"{name}=.* is refused: Quire never runs"):
            plan_server({name: raw}, table=table)


def test_aliases_win_over_the_plain_name():
    environ = {
        "TOKENIZER": "a",
        "TOKENIZER_NAME": "b",
        "SERVED_MODEL_NAME": "c",
        "OPENAI_SERVED_MODEL_NAME_OVERRIDE": "d, e",
        "CUSTOM_CHAT_TEMPLATE": "{{ x }}",
        "MODEL_REVISION": "main",
        "MODEL": "ignored, a name other programs use",
    }
    asked = Asked.from_arguments(plan_server(environ).arguments, {})
    assert asked["tokenizer"] == "b"
    assert asked["served_model_name"] == ["d", "e"]
    assert asked["chat_template"] == "{{ x }}"
    assert asked["revision"] == "main"
    assert not asked.is_given("model")


def test_extra_options_win_and_are_not_added_up():
    environ = {
        "MAX_NUM_SEQS": "4",
        "SERVED_MODEL_NAME": "a",
        "VLLM_EXTRA_ARGS": "--max-num-seqs 8 --served-model-name 'b c'",
    }
    plan = plan_server(environ, ["--block-size=32"])
    asked = Asked.from_arguments(plan.arguments, {})
    assert (asked["max_num_seqs"], asked["served_model_name"], asked["block_size"]) == (8, ["b c"], 32)
    assert asked.warnings == ()
    assert sum("gives way" in note for note in plan.notes) == 2


def test_zero_means_automatic_where_the_first_worker_said_so():
    assert plan_server({"MAX_MODEL_LEN": "0", "MAX_NUM_BATCHED_TOKENS": "0"}).arguments == []
    assert plan_server({"MAX_MODEL_LEN": "auto"}).arguments == ["--max-model-len=auto"]


def test_logging_of_requests_is_the_opposite_of_its_older_names():
    assert plan_server({"DISABLE_LOG_REQUESTS": "1"}).arguments == ["--no-enable-log-requests"]
    assert plan_server({"DISABLE_LOGGING_REQUEST": "0"}).arguments == ["--enable-log-requests"]
    both = {"DISABLE_LOG_REQUESTS": "0", "DISABLE_LOGGING_REQUEST": "1"}
    assert plan_server(both).arguments == ["--no-enable-log-requests"]
    newer = plan_server({"DISABLE_LOG_REQUESTS": "1", "ENABLE_LOG_REQUESTS": "1"})
    assert newer.arguments == ["--enable-log-requests"]
    assert "DISABLE_LOG_REQUESTS gives way to ENABLE_LOG_REQUESTS" in newer.notes


def test_rope_goes_into_the_overrides_of_the_config_whose_own_keys_win():
    environ = {
        "ROPE_SCALING": '{"type": "linear"}',
        "ROPE_THETA": "5e4",
        "HF_OVERRIDES": '{"rope_theta": 7, "x": 1}',
    }
    asked = Asked.from_arguments(plan_server(environ).arguments, {})
    assert asked["hf_overrides"] == {"rope_scaling": {"type": "linear"}, "rope_theta": 7, "x": 1}
    assert plan_server({"ROPE_THETA": "0"}).arguments == []


def test_speculation_is_put_together_once_there_is_such_a_setting():
    table = with_settings("speculative-config")
    environ = {
        "SPECULATIVE_MODEL": "[ngram]",
        "NUM_SPECULATIVE_TOKENS": "5",
        "NGRAM_PROMPT_LOOKUP_MAX": "4",
        "SPECULATIVE_METHOD": "",
    }
    (word,) = plan_server(environ, table=table).arguments
    assert json.loads(word.removeprefix("--speculative-config=")) == {
        "method": "ngram",
        "num_speculative_tokens": 5,
        "prompt_lookup_max": 4,
    }
    with pytest.raises(ConfigError, match="NUM_SPECULATIVE_TOKENS"):
        plan_server({"NUM_SPECULATIVE_TOKENS": "few"}, table=table)


def test_the_grammar_backend_is_carried_over_once_there_is_such_a_setting():
    table = with_settings("structured-outputs-config")
    environ = {"GUIDED_DECODING_BACKEND": "lm-format-enforcer"}
    (word,) = plan_server(environ, table=table).arguments
    assert word == '--structured-outputs-config={"backend": "lm-format-enforcer"}'


@pytest.mark.parametrize("raw", ["image=1,video=0", '{"image": 1, "video": 0}'])
def test_limits_in_the_older_pairs_are_an_object_once_there_is_such_a_setting(raw):
    table = with_settings("limit-mm-per-prompt")
    asked = Asked.from_arguments(plan_server({"LIMIT_MM_PER_PROMPT": raw}, table=table).arguments, {}, table)
    assert asked["limit_mm_per_prompt"] == {"image": 1, "video": 0}


def test_the_server_gets_neither_the_workers_variables_nor_the_platforms():
    environ = {
        "VLLM_PORT": "1",
        "VLLM_EXTRA_ARGS": "",
        "RUNPOD_AI_API_KEY": "k",
        "HF_TOKEN": "t",
        "VLLM_API_KEY": "s",
    }
    assert plan_server(environ).environ == {"HF_TOKEN": "t", "VLLM_API_KEY": "s"}
    assert "t" not in plan_server(environ).arguments
