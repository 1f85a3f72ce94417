"""`--config`: a YAML file of option names."""

from __future__ import annotations

import sys

import pytest

from quire.base.config import Asked
from quire.base.errors import ConfigError


def ask(tmp_path, text: str, *words: str) -> Asked:
    file = tmp_path / "serve.yaml"
    file.write_text(text)
    return Asked.from_arguments(["--config", str(file), *words], {})


def test_reads_every_shape_of_value(tmp_path):
    asked = ask(
        tmp_path,
        """
        model: org/example
        port: 9000
        max-model-len: 4K
        gpu_memory_utilization: 0.8
        enable-prefix-caching: false
        served-model-name: [a, b]
        hf-overrides:
          rope_scaling: {factor: 2.0}
        chat-template: null
        """,
    )
    assert asked["model"] == "org/example"
    assert asked["port"] == 9000
    assert asked["max_model_len"] == 4096
    assert asked["gpu_memory_utilization"] == 0.8
    assert asked["enable_prefix_caching"] is False
    assert asked["served_model_name"] == ["a", "b"]
    assert asked["hf_overrides"] == {"rope_scaling": {"factor": 2.0}}


def test_a_flag_replaces_the_file_without_a_warning(tmp_path):
    asked = ask(tmp_path, "port: 9000\nseed: 3\n", "--port", "9001")
    assert (asked["port"], asked["seed"], asked.warnings) == (9001, 3, ())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prot: 1", r"serve\.yaml: prot is not an option; the nearest are port, "),
        ("config: other.yaml", r"config is not an option"),
        ("port: many", r"serve\.yaml, port: 'many' is not allowed; give an integer from 1 to 65535"),
        ("port: true", r"serve\.yaml, port: True is not allowed"),
        ("- port", r"must hold option names and values"),
        ("a: [", r"is not valid YAML: "),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        ask(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(ConfigError, match=r"--config \S+/none\.yaml: No such file or directory"):
        Asked.from_arguments(["--config", str(tmp_path / "none.yaml")], {})


def test_missing_package_names_the_install_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(ConfigError, match=r"pip install 'quire\[config\]'"):
        ask(tmp_path, "port: 1")
