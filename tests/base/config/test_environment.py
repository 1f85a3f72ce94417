"""Variables: the strongest name, lists, what Kubernetes leaves behind, names nobody declared."""

from __future__ import annotations

import pytest

from quire.base.config import Asked
from quire.base.errors import ConfigError


def ask(**environ: str) -> Asked:
    return Asked.from_arguments([], environ)


@pytest.mark.parametrize(
    ("variable", "on", "off"),
    [
        # as the documents of each variable read it
        ("VLLM_SERVER_DEV_MODE", ("1", "2", "true"), ("0", "false")),
        ("VLLM_ALLOW_LONG_MAX_MODEL_LEN", ("1", "true", " TRUE "), ("0", "yes", "2")),
        ("VLLM_NO_USAGE_STATS", ("1",), ("0", "true", "2")),
        ("VLLM_KEEP_ALIVE_ON_ENGINE_DEATH", ("1", "0", "no"), ()),
        ("VLLM_TEST_DYNAMO_FULLGRAPH_CAPTURE", ("1", "2", "no"), ("0",)),
        ("VLLM_OPENVINO_ENABLE_QUANTIZED_WEIGHTS", ("on", "TRUE", "1"), ("yes", "0")),
        ("VLLM_USE_MODELSCOPE", ("True", "1"), ("False", "0")),
    ],
)
def test_truth_is_read_as_each_variable_defines_it(variable, on, off):
    from quire.base.config import SETTINGS

    dest = SETTINGS.by_variable[variable].dest
    assert all(ask(**{variable: text})[dest] is True for text in on)
    assert all(ask(**{variable: text})[dest] is False for text in off)


def test_own_name_wins_over_the_documented_one():
    asked = ask(VLLM_LOGGING_LEVEL="ERROR", QUIRE_LOGGING_LEVEL="DEBUG")
    assert asked["logging_level"] == "DEBUG"


def test_variables_that_belong_to_everybody_are_never_reported(card, machine):
    from quire.base.config import resolve

    everyday = {"LD_LIBRARY_PATH": "/lib", "CUDA_HOME": "/cuda", "VERBOSE": "very", "LOCAL_RANK": "3"}
    resolution = resolve(ask(**everyday), card, machine)
    assert not [entry for entry in resolution.decisions if entry.choice == "without effect here"]


def test_empty_variables_count_as_not_set():
    assert not ask(VLLM_API_KEY="", QUIRE_DTYPE="").given


def test_lists_split_at_commas_but_keys_stay_whole():
    assert ask(QUIRE_SERVED_MODEL_NAME="a,b")["served_model_name"] == ["a", "b"]
    assert ask(QUIRE_SERVED_MODEL_NAME='["a,b"]')["served_model_name"] == ["a,b"]
    assert ask(VLLM_API_KEY="a,b")["api_key"] == ["a,b"]


def test_level_of_logging_in_any_case():
    assert ask(VLLM_LOGGING_LEVEL="debug")["logging_level"] == "DEBUG"


def test_unknown_variable_warns_with_the_nearest_name():
    (warning,) = ask(VLLM_API_KEYS="x").warnings
    assert warning == "VLLM_API_KEYS is not a variable Quire reads; the nearest is VLLM_API_KEY"


def test_unknown_variable_stops_when_asked_to():
    for words, environ in (
        (["--fail-on-environ-validation"], {"QUIRE_DTYP": "x"}),
        ([], {"QUIRE_DTYP": "x", "QUIRE_FAIL_ON_ENVIRON_VALIDATION": "1"}),
    ):
        with pytest.raises(
            ConfigError, match="QUIRE_DTYP is not a variable Quire reads; the nearest is QUIRE_DTYPE"
        ):
            Asked.from_arguments(words, environ)
    assert Asked.from_arguments(["--fail-on-environ-validation"], {"QUIRE_DTYPE": "auto"})["dtype"] == "auto"


def test_variables_of_a_kubernetes_service_are_explained_once_and_never_read():
    asked = ask(
        QUIRE_PORT="tcp://10.0.0.1:8000",
        QUIRE_SERVICE_HOST="10.0.0.1",
        QUIRE_SERVICE_PORT="8000",
        QUIRE_SERVICE_PORT_HTTP="8000",
        QUIRE_PORT_8000_TCP="tcp://10.0.0.1:8000",
        QUIRE_PORT_8000_TCP_ADDR="10.0.0.1",
    )
    assert not asked.given
    assert any(
        "QUIRE_PORT=tcp://10.0.0.1:8000 was set by Kubernetes for a service called quire" in w
        for w in asked.warnings
    )
    assert all("Kubernetes" in warning for warning in asked.warnings)


def test_other_variables_are_nobodys_business():
    assert not ask(PATH="/bin", HOME="/", VLLMX="1").warnings
