"""Models that are there already: baked into the image, or cached on the volume."""

from __future__ import annotations

import json

import pytest

from quire.api.serverless.model_files import with_model_files
from quire.base.errors import ConfigError


@pytest.fixture
def files(tmp_path):
    return {
        "baked": tmp_path / "baked.json",
        "config": tmp_path / "config.yaml",
        "volume": tmp_path / "volume",
    }


def test_nothing_there_changes_nothing(files):
    assert with_model_files({"MODEL_NAME": "a"}, **files) == {"MODEL_NAME": "a"}


def test_a_baked_model_wins_and_stays_offline(files):
    files["baked"].write_text(
        json.dumps({"MODEL_NAME": "/models/x", "TOKENIZER_NAME": "/models/t", "OTHER": 1})
    )
    found = with_model_files({"MODEL_NAME": "a", "DTYPE": "auto"}, **files)
    assert found == {
        "MODEL_NAME": "/models/x",
        "TOKENIZER_NAME": "/models/t",
        "DTYPE": "auto",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
    }


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"MODEL_NAME": ""}'])
def test_a_damaged_baked_file_stops_the_start(files, text):
    files["baked"].write_text(text)
    with pytest.raises(ConfigError, match=r"baked\.json"):
        with_model_files({}, **files)


def test_the_config_file_is_read_unless_another_is_named(files):
    files["config"].write_text("seed: 1")
    assert with_model_files({}, **files)["VLLM_CONFIG_FILE"] == str(files["config"])
    assert with_model_files({"VLLM_CONFIG_FILE": "x"}, **files)["VLLM_CONFIG_FILE"] == "x"


def test_the_volume_holds_the_cache_unless_told_otherwise(files):
    files["volume"].mkdir()
    cache = str(files["volume"] / "huggingface-cache" / "hub")
    found = with_model_files({"HF_HOME": "/mine"}, **files)
    assert found == {"HF_HOME": "/mine", "HUGGINGFACE_HUB_CACHE": cache, "HF_HUB_CACHE": cache}
    assert with_model_files({"BASE_PATH": "/b"}, **files)["HF_HUB_CACHE"] == "/b/huggingface-cache/hub"


def test_a_cached_model_is_found_whatever_its_capitals_and_keeps_its_name(files):
    (files["volume"] / "huggingface-cache" / "hub" / "models--org--Big-Model").mkdir(parents=True)
    found = with_model_files({"MODEL_NAME": "Org/big-model"}, **files)
    assert found["MODEL_NAME"] == "org/Big-Model"
    assert found["OPENAI_SERVED_MODEL_NAME_OVERRIDE"] == "Org/big-model"
    named = with_model_files({"MODEL_NAME": "Org/big-model", "SERVED_MODEL_NAME": "mine"}, **files)
    assert "OPENAI_SERVED_MODEL_NAME_OVERRIDE" not in named
    assert with_model_files({"MODEL_NAME": "org/other"}, **files)["MODEL_NAME"] == "org/other"
