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
    assert ask("--served-model-name", "a", "b")["served_model_name"] == ["a", "b"]
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


def test_last_repetition_counts_with_a_warning():
    asked = ask("--port", "1", "--port", "2", "--hf-overrides.a", "1", "--hf-overrides.a", "2")
    assert (asked["port"], asked["hf_overrides"]) == (2, {"a": 2})
    assert len(asked.warnings) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--prot", "80"], r"^--prot is not an option; the nearest are --port, --\S+, --\S+$"),
        (["--max-modellen=3"], r"^--max-modellen is not an option; the nearest are --max-model-len, "),
        (["--tensor-parallel-size", "2"], r"^--tensor-parallel-size is not an option; the nearest are "),
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


def test_every_option_of_the_table_is_read():
    samples = {
        "INTEGER": "3",
        "TOKENS": "64",
        "NUMBER": "0.5",
        "JSON": '{"temperature": 0.5}',
        "TEXT": "x",
        "PATH": "x",
    }
    for setting in SETTINGS.all:
        if not setting.has_flag or setting.name == "config":
            continue
        kind = setting.kind
        word = kind.choices[-1] if kind.choices else samples.get(kind.metavar, "")
        words = [setting.flag] if kind.is_switch else [setting.flag, word]
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
