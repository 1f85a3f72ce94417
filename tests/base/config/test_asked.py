"""Who wins when several places give a value, and what is said about values nobody can use."""

from __future__ import annotations

import pytest

from quire.base.config import Asked
from quire.base.errors import ConfigError

NOWHERE: dict[str, str] = {}


def test_default_when_nobody_asks():
    asked = Asked.from_arguments([], NOWHERE)
    assert asked["port"] == 8000
    assert asked.origin("port") == ("default", "")
    assert not asked.is_given("port")


def test_flag_beats_file_beats_own_variable_beats_vllm_variable(tmp_path):
    file = tmp_path / "serve.yaml"
    file.write_text("api_key: from-file\n")
    environ = {"VLLM_API_KEY": "from-vllm"}
    assert Asked.from_arguments([], environ)["api_key"] == ["from-vllm"]
    environ["QUIRE_API_KEY"] = "from-quire"
    asked = Asked.from_arguments([], environ)
    assert (asked["api_key"], asked.origin("api_key")) == (["from-quire"], ("environment", "QUIRE_API_KEY"))
    asked = Asked.from_arguments(["--config", str(file)], environ)
    assert (asked["api_key"], asked.origin("api_key")) == (["from-file"], ("file", str(file)))
    asked = Asked.from_arguments(["--config", str(file), "--api-key", "from-flag"], environ)
    assert (asked["api_key"], asked.origin("api_key")) == (["from-flag"], ("flag", "--api-key"))


def test_every_option_has_a_variable_of_its_own():
    asked = Asked.from_arguments([], {"QUIRE_MAX_MODEL_LEN": "2K", "QUIRE_ENABLE_PREFIX_CACHING": "off"})
    assert asked["max_model_len"] == 2048
    assert asked["enable_prefix_caching"] is False


def test_port_is_not_read_from_the_variable_kubernetes_sets():
    asked = Asked.from_arguments([], {"QUIRE_PORT": "9000"})
    assert asked["port"] == 8000


def test_keywords_take_typed_values_and_beat_the_environment():
    asked = Asked.from_keywords(
        {"max_model_len": 1024, "hf_overrides": {"a": 1}, "enable_prefix_caching": False, "seed": None},
        {"QUIRE_MAX_MODEL_LEN": "512", "QUIRE_SEED": "7"},
    )
    assert asked["max_model_len"] == 1024
    assert asked["hf_overrides"] == {"a": 1}
    assert asked["enable_prefix_caching"] is False
    assert asked["seed"] == 7  # None means not given


def test_unknown_keyword_names_the_nearest():
    with pytest.raises(
        ConfigError, match=r"max_model_length is not a setting; the nearest are max_model_len, "
    ):
        Asked.from_keywords({"max_model_length": 5}, NOWHERE)


def test_wrong_value_is_one_sentence_with_place_value_and_what_is_allowed():
    with pytest.raises(ConfigError) as caught:
        Asked.from_arguments(["--max-num-seqs", "many"], NOWHERE)
    assert str(caught.value) == "--max-num-seqs: 'many' is not allowed; give an integer of at least 1"
    assert caught.value.setting == "max_num_seqs"
    with pytest.raises(ConfigError, match=r"^QUIRE_DTYPE: 'fp8' is not allowed; give one of auto, bfloat16"):
        Asked.from_arguments([], {"QUIRE_DTYPE": "fp8"})
    with pytest.raises(ConfigError, match=r"^max_num_seqs=: 0 is not allowed"):
        Asked.from_keywords({"max_num_seqs": 0}, NOWHERE)


def test_a_secret_is_not_repeated_in_an_error():
    with pytest.raises(ConfigError) as caught:
        Asked.from_arguments([], {"VLLM_API_KEY": "[not json, my secret"})
    assert "my secret" not in str(caught.value)


@pytest.mark.parametrize("word", ["", "None"])
def test_empty_or_none_means_not_given_where_there_is_no_default(word):
    assert not Asked.from_arguments(["--max-model-len", word], NOWHERE).is_given("max_model_len")
    assert Asked.from_arguments(["--max-model-len", word], {"QUIRE_MAX_MODEL_LEN": "5"})["max_model_len"] == 5


def test_asking_for_an_undeclared_name_is_our_bug():
    asked = Asked.from_arguments([], NOWHERE)
    with pytest.raises(KeyError):
        asked["no_such_setting"]
    with pytest.raises(KeyError):
        asked.is_given("no_such_setting")


def test_settings_of_the_server_are_refused_as_keywords():
    with pytest.raises(ConfigError, match="port is a setting of `quire serve` and means nothing here"):
        Asked.from_keywords({"port": 8000}, NOWHERE)
    assert Asked.from_keywords({"chat_template": "x"}, NOWHERE)["chat_template"] == "x"
