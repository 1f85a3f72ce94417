"""The steps before the engine: settings that act on the model's files."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import numpy
import pytest
from safetensors.numpy import save_file

from quire.api.startup import prepare_startup
from quire.base.config import Asked
from quire.base.errors import CheckpointError, ConfigError
from quire.text.parsers import REASONING_FORMATS, TOOL_FORMATS

CONFIG = {
    "model_type": "qwen3",
    "architectures": ["Qwen3ForCausalLM"],
    "dtype": "float32",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 300,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-6,
    "hidden_act": "silu",
    "tie_word_embeddings": True,
    "eos_token_id": 2,
}


def make_folder(folder: Path, **changes) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({**CONFIG, **changes}))
    (folder / "generation_config.json").write_text(json.dumps({"temperature": 0.6, "max_new_tokens": 40}))
    save_file({"model.embed_tokens.weight": numpy.zeros((300, 64), "float32")}, folder / "model.safetensors")
    return folder


def start(*words: object, **environ: object):
    variables = {name: str(value) for name, value in environ.items()}
    return prepare_startup(Asked.from_arguments([str(word) for word in words], variables))


def test_model_by_folder(tmp_path):
    folder = make_folder(tmp_path / "m")
    resolution = start(folder).resolution
    assert resolution.engine.card.folder == str(folder)
    assert resolution.engine.max_model_len == 512
    assert resolution.server.sampling_defaults == {"temperature": 0.6, "max_tokens": 40}
    assert resolution.server.served_model_names == [str(folder)]


PLUGIN = """
from quire.text.parsers.authoring import JsonCall, ReasoningFormat, ToolFormat
FORMATS = [
    ToolFormat(name="from_file", syntax=JsonCall(), begins=("<do>",)),
    ReasoningFormat(name="from_file", begins=("<hm>",), ends=("</hm>",)),
]
"""


@pytest.mark.parametrize("option", ["--tool-parser-plugin", "--reasoning-parser-plugin"])
def test_formats_of_a_plugin_file_can_be_chosen(tmp_path, monkeypatch, option):
    for table in (TOOL_FORMATS, REASONING_FORMATS):
        monkeypatch.setitem(table, "from_file", None)  # forgotten after the test
        monkeypatch.delitem(table, "from_file")
    folder, file = make_folder(tmp_path / "m"), tmp_path / "plugin.py"
    chosen = ["--tool-call-parser", "from_file", "--reasoning-parser", "from_file"]
    with pytest.raises(ConfigError, match="'from_file' is not known"):
        start(folder, *chosen)
    with pytest.raises(ConfigError, match=f"{option}: there is no file"):
        start(folder, *chosen, option, file)
    file.write_text(PLUGIN)
    server = start(folder, *chosen, option, file).resolution.server
    assert (server.tool_call_parser, server.reasoning_parser) == ("from_file", "from_file")
    assert REASONING_FORMATS["from_file"].begins == ("<hm>",)


def test_what_ends_reasoning_must_end_it_as_the_parser_reads_it(tmp_path):
    folder = make_folder(tmp_path / "m")
    words = [folder, "--reasoning-parser", "qwen3", "--reasoning-config.reasoning_end_str"]
    assert start(*words, "Now: </think>").resolution.server.reasoning_end == "Now: </think>"
    with pytest.raises(ConfigError, match="reasoning_end_str 'Now:' does not end reasoning"):
        start(*words, "Now:")


def test_hf_overrides_change_the_card(tmp_path):
    folder = make_folder(tmp_path / "m")
    assert (
        start(folder, "--hf-overrides.max_position_embeddings", "256").resolution.engine.max_model_len == 256
    )


def test_revision_and_download_dir_choose_the_snapshot(tmp_path):
    repository = tmp_path / "hub" / "models--org--name"
    for commit, length in (("aaa", 512), ("bbb", 128)):
        make_folder(repository / "snapshots" / commit, max_position_embeddings=length)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("aaa")
    (repository / "refs" / "v2").write_text("bbb")
    words = ["org/name", "--download-dir", tmp_path / "hub"]
    assert start(*words).resolution.engine.max_model_len == 512
    assert start(*words, "--revision", "v2").resolution.engine.max_model_len == 128
    assert start(*words, "--revision", "bbb").folder.name == "bbb"


def test_tokenizer_of_another_folder(tmp_path):
    folder, other = make_folder(tmp_path / "m"), make_folder(tmp_path / "t")
    assert start(folder).resolution.engine.text_folder == str(folder)
    assert start(folder, "--tokenizer", other).resolution.engine.text_folder == str(other)


def test_generation_config_of_another_folder(tmp_path):
    folder, other = make_folder(tmp_path / "m"), make_folder(tmp_path / "g")
    (other / "generation_config.json").write_text('{"top_k": 3, "num_beams": 4}')
    assert start(folder, "--generation-config", other).resolution.server.sampling_defaults == {"top_k": 3}
    shutil.rmtree(other)
    with pytest.raises(ConfigError, match="give auto, vllm, or a folder that holds"):
        start(folder, "--generation-config", other)


def test_weights_are_checked_unless_they_are_dummies(tmp_path):
    folder = make_folder(tmp_path / "m")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        start(folder)
    weights.unlink()
    with pytest.raises(CheckpointError, match="--load-format dummy"):
        start(folder)
    assert start(folder, "--load-format", "dummy").resolution.engine.load_format == "dummy"


def test_what_is_refused_is_refused_before_the_model_is_looked_for():
    with pytest.raises(ConfigError, match=r"^-tp 2 is refused"):
        start("/no/such/folder", "-tp", "2")


def test_laps_name_the_stages(tmp_path):
    folder = make_folder(tmp_path / "m")
    stages: list[str] = []
    prepare_startup(Asked.from_arguments([str(folder)], {}), lap=stages.append)
    assert stages == ["model files", "resolve"]


def parsers(resolution) -> tuple[str, str]:
    return resolution.server.tool_call_parser, resolution.server.reasoning_parser


def test_parsers_come_from_the_chat_template_in_use(tmp_path):
    folder = make_folder(tmp_path / "m")
    assert parsers(start(folder).resolution) == ("", "")
    (folder / "chat_template.jinja").write_text("{{ '[TOOL_CALLS]' }}")
    resolution = start(folder).resolution
    assert parsers(resolution) == ("mistral", "")
    told = {one.setting: one.reason for one in resolution.decisions}
    assert told["tool-call-parser"] == "the chat template has [TOOL_CALLS]"
    other = tmp_path / "other.jinja"
    other.write_text("<think></think> <tool_call><arg_key>")
    assert parsers(start(folder, "--chat-template", other).resolution) == ("glm45", "qwen3")
    assert parsers(start(folder, "--tool-call-parser", "jamba").resolution) == ("jamba", "")


def test_an_unknown_parser_is_refused_with_the_known_ones(tmp_path):
    folder = make_folder(tmp_path / "m")
    with pytest.raises(ConfigError, match=r"--tool-call-parser 'nonsense' is not known; known are .*hermes"):
        start(folder, "--tool-call-parser", "nonsense")
    with pytest.raises(ConfigError, match="--reasoning-parser"):
        start(folder, "--reasoning-parser", "nonsense")


def test_the_built_in_model_writes_hermes_calls_and_thinks_like_qwen3():
    assert parsers(start().resolution) == ("hermes", "qwen3")


def test_config_of_another_folder(tmp_path):
    folder, other = make_folder(tmp_path / "m"), make_folder(tmp_path / "c", max_position_embeddings=64)
    resolution = start(folder, "--hf-config-path", other).resolution
    assert resolution.engine.max_model_len == 64
    assert resolution.engine.card.folder == str(folder)


def test_revision_of_the_tokenizer(tmp_path):
    repository = tmp_path / "hub" / "models--org--name"
    for commit in ("aaa", "bbb"):
        make_folder(repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("aaa")
    words = ["org/name", "--download-dir", tmp_path / "hub"]
    assert start(*words).resolution.engine.text_folder.endswith("aaa")
    resolution = start(*words, "--tokenizer-revision", "bbb").resolution
    assert resolution.engine.text_folder.endswith("bbb")
    assert resolution.engine.card.folder.endswith("aaa")


@pytest.mark.parametrize("form", ["json", "columns"])
def test_names_may_be_redirected_to_folders(tmp_path, form):
    folder, file = make_folder(tmp_path / "my model"), tmp_path / "redirects"
    file.write_text(
        json.dumps({"org/name": str(folder)}) if form == "json" else f"other x\norg/name\t{folder}\n"
    )
    startup = start("org/name", VLLM_MODEL_REDIRECT_PATH=file)
    assert startup.folder == folder
    assert startup.resolution.server.served_model_names == ["org/name"]
    file.write_text("one\n")
    with pytest.raises(
        ConfigError, match=r"^VLLM_MODEL_REDIRECT_PATH: .*is not understood; give a JSON object"
    ):
        start("org/name", VLLM_MODEL_REDIRECT_PATH=file)
    with pytest.raises(ConfigError, match="cannot be read"):
        start("org/name", VLLM_MODEL_REDIRECT_PATH=tmp_path / "none")


def test_without_sliding_window_the_context_is_no_longer_than_it(tmp_path):
    folder = make_folder(tmp_path / "m", sliding_window=128)
    assert start(folder).resolution.engine.max_model_len == 512
    assert start(folder, "--disable-sliding-window").resolution.engine.max_model_len == 128
    full = make_folder(tmp_path / "full", sliding_window=None)
    assert start(full, "--disable-sliding-window").resolution.engine.max_model_len == 512


def test_nothing_is_reported_to_anybody(tmp_path, monkeypatch):
    def refuse(self, address):
        raise AssertionError(f"connected to {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    for environ in ({}, {"VLLM_NO_USAGE_STATS": "1"}, {"VLLM_DO_NOT_TRACK": "1"}, {"DO_NOT_TRACK": "1"}):
        notes = start(
            make_folder(tmp_path / str(len(list(tmp_path.iterdir())))), **environ
        ).resolution.decisions
        assert not [note for note in notes if note.choice == "without effect here"]


@pytest.mark.parametrize("option", ["--worker-cls", "--worker-extension-cls", "--scheduler-cls"])
def test_classes_for_the_engine_are_looked_for_before_the_model(option):
    for path, message in (
        ("Nothing", "give a path such as package.module.name"),
        ("no_such_package.module.Thing", "no_such_package.module cannot be imported"),
        ("json.no_such_module.Thing", "there is no module json.no_such_module"),
    ):
        with pytest.raises(ConfigError, match=f"^{option}: .*{message}"):
            prepare_startup(Asked.from_arguments(["/no/such/model", option, path]))
    with pytest.raises(CheckpointError):  # the class is there, its name is the engine's to look for
        prepare_startup(Asked.from_arguments(["/no/such/model", option, "json.decoder.Thing"]))
