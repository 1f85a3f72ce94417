"""Variables: the strongest name, lists, what Kubernetes leaves behind, names nobody declared."""

from __future__ import annotations

import pytest

from quire.base.config import Asked
from quire.base.errors import ConfigError


def ask(**environ: str) -> Asked:
    return Asked.from_arguments([], environ)


def test_empty_variables_count_as_not_set():
    assert not ask(VLLM_API_KEY="", QUIRE_DTYPE="").given


def test_lists_split_at_commas_but_keys_stay_whole():
    assert ask(QUIRE_SERVED_MODEL_NAME="a,b")["served_model_name"] == ["a", "b"]
    assert ask(QUIRE_SERVED_MODEL_NAME='["a,b"]')["served_model_name"] == ["a,b"]
    assert ask(VLLM_API_KEY="a,b")["api_key"] == ["a,b"]


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
