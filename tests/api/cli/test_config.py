"""`quire config show | explain`: values with their origin and reason, nothing secret."""

from __future__ import annotations

import json

import pytest
from tests.api.test_startup import make_folder

from quire.api.cli import main
from quire.base.config import SETTINGS


@pytest.fixture
def folder(tmp_path) -> str:
    return str(make_folder(tmp_path / "m"))


def test_show_lists_every_setting_with_its_origin(folder, capsys, monkeypatch):
    monkeypatch.setenv("QUIRE_SEED", "7")
    assert main(["config", "show", folder, "--port", "9000", "--api-key", "secret"]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines.keys() >= {setting.name for setting in SETTINGS.all}
    assert lines["port"] == "9000  (flag, --port)"
    assert lines["seed"] == "7  (environment, QUIRE_SEED)"
    assert lines["block-size"] == "16  (default)"
    assert lines["dtype"] == "float32  (automatic, the checkpoint is float32)"
    assert lines["max-model-len"].startswith("512  (automatic, the model's own limit")
    assert lines["api-key"] == "set, not shown  (flag, --api-key)"


def test_show_as_json(folder, capsys):
    assert main(["config", "show", "--json", folder]) == 0
    document = json.loads(capsys.readouterr().out)
    by_name = {line["name"]: line for line in document["settings"]}
    assert by_name["kv-cache"]["origin"] == "automatic"
    assert by_name["enable-prefix-caching"]["value"] is True
    assert document["memory"]["kv_bytes"] > 0


@pytest.mark.parametrize("name", ["max-model-len", "--max_model_len", "QUIRE_MAX_MODEL_LEN"])
def test_explain_tells_value_reason_and_what_overrides(name, folder, capsys):
    assert main(["config", "explain", name, folder]) == 0
    text = capsys.readouterr().out
    assert "--max-model-len TOKENS" in text
    assert "here: 512  (automatic, the model's own limit" in text
    assert "overridden by, strongest first: --max-model-len, QUIRE_MAX_MODEL_LEN" in text


def test_explain_needs_a_name(capsys):
    assert main(["config", "explain"]) == 2
    assert capsys.readouterr().err == "quire: quire config explain needs the name of a setting\n"
