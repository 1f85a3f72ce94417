"""Startup: from what was asked to a resolved configuration, the way every entry takes: server, LLM, tools."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from quire.base.config import Asked, FoundParsers, ModelCard, Resolution, reasoning_plugin, resolve
from quire.base.dotted import check_dotted
from quire.base.errors import ConfigError
from quire.base.hardware import Machine, probe_machine
from quire.base.plugins import run_plugins
from quire.model.checkpoint import (
    BUILTIN_MODEL,
    DownloadOptions,
    locate_model,
    read_card,
    read_generation_config,
    sampling_defaults,
    verify_checkpoint,
)
from quire.text.grammar import verify_backend
from quire.text.parsers import find_parsers, load_plugin_file, reasoning_format, reasoning_of, tool_format
from quire.text.template import find_templates, read_override

_ENGINE_CLASSES = ("worker_cls", "worker_extension_cls", "scheduler_cls")  # the engine process imports them


@dataclass(frozen=True, slots=True)
class Startup:
    """A checked model folder and what `resolve` made of it. No tensor has been read."""

    folder: Path
    machine: Machine
    resolution: Resolution


def prepare_startup(asked: Asked, *, lap: Callable[[str], None] = lambda stage: None) -> Startup:
    """Find the model (downloading it if need be), check its files, resolve. Raises CheckpointError, ConfigError.

    `lap` hears the name of each stage when it is over.
    """
    machine = probe_machine()
    asked.refuse_by_state(machine.platform)  # before a model is downloaded for nothing
    run_plugins(asked["plugins"])
    _load_formats(asked)
    for setting in _ENGINE_CLASSES:
        if asked[setting] not in (None, "", "auto"):
            check_dotted(asked[setting], setting=setting)
    name = asked["model"] or BUILTIN_MODEL
    redirects = read_redirects(asked["model_redirect_path"])
    folder = _locate(asked, redirects, name, asked["revision"])
    config_folder = None
    if asked["hf_config_path"]:
        config_folder = _locate(asked, redirects, asked["hf_config_path"], None)
    card = read_card(
        folder,
        name=name,
        hf_overrides=asked["hf_overrides"],
        config_folder=config_folder,
        reads_pickled=asked["load_format"] == "pt",
    )
    if asked["disable_sliding_window"]:
        card = within_window(card)
    if asked["load_format"] != "dummy":
        verify_checkpoint(card, asked["load_format"])
    card = _with_generation_config(card, asked["generation_config"])
    tokenizer_folder = ""
    if asked["tokenizer"] or asked["tokenizer_revision"]:
        source = asked["tokenizer"] or name
        tokenizer_folder = str(_locate(asked, redirects, source, asked["tokenizer_revision"]))
    lap("model files")
    resolution = resolve(
        asked,
        card,
        machine,
        tokenizer_folder=tokenizer_folder,
        found_parsers=_found_parsers(asked, Path(tokenizer_folder or folder), card),
    )
    reasoning_of(resolution.server)
    verify_backend(resolution.engine.grammar.backend)
    if resolution.server.traces is not None:
        from quire.api.tracing import verify_exporter

        verify_exporter(resolution.server.traces)
    lap("resolve")
    return Startup(folder, machine, resolution)


def read_redirects(path: str | None) -> dict[str, str]:
    """Model names and the folders to take instead: a JSON object, or lines of name, blank, folder."""
    if not path:
        return {}
    try:
        text = Path(path).expanduser().read_text("utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(
            f"VLLM_MODEL_REDIRECT_PATH: {path} cannot be read ({problem})", setting="model_redirect_path"
        ) from None
    if text.lstrip().startswith("{"):
        with contextlib.suppress(ValueError, msgspec.ValidationError):
            return msgspec.json.decode(text, type=dict[str, str])
    else:
        pairs = [line.split(None, 1) for line in text.splitlines() if line.strip()]
        if all(len(pair) == 2 for pair in pairs):
            return {name: folder.strip() for name, folder in pairs}
    raise ConfigError(
        f"VLLM_MODEL_REDIRECT_PATH: {path} is not understood; give a JSON object of names and folders, or lines of "
        "name, blank, folder",
        setting="model_redirect_path",
    )


def within_window(card: ModelCard) -> ModelCard:
    """The card with its context cut to the sliding window, within which windowed and full attention are one."""
    window = card.hf_config.get("sliding_window")
    if not isinstance(window, int) or card.hf_config.get("use_sliding_window") is False:
        return card
    return msgspec.structs.replace(card, max_model_len=min(card.max_model_len, window))


def _locate(asked: Asked, redirects: dict[str, str], name: str, revision: str | None) -> Path:
    token = asked["hf_token"]
    options = DownloadOptions(
        token=True if token == "true" else token,
        ignore_patterns=tuple(asked["ignore_patterns"]),
        shows_progress=asked["use_tqdm_on_load"],
        pickled=asked["load_format"] == "pt",
    )
    return locate_model(
        redirects.get(name, name), revision=revision, download_dir=asked["download_dir"], download=options
    )


def _with_generation_config(card: ModelCard, source: str) -> ModelCard:
    """The card with the sampling defaults of the folder that `--generation-config` names, if it names one."""
    if source in ("auto", "vllm"):
        return card
    generation = read_generation_config(Path(source).expanduser())
    if not generation:
        raise ConfigError(
            f"--generation-config: {source!r} is not allowed; give auto, vllm, or a folder that holds a "
            "generation_config.json",
            setting="generation_config",
        )
    return msgspec.structs.replace(card, sampling_defaults=sampling_defaults(generation))


def _load_formats(asked: Asked) -> None:
    """Take up the formats of plugin files. One file may be named by both options."""
    files = {
        asked["tool_parser_plugin"]: "tool_parser_plugin",
        reasoning_plugin(asked): "reasoning_parser_plugin",
    }
    for path, setting in files.items():
        if path:
            load_plugin_file(path, setting=setting)


def _found_parsers(asked: Asked, folder: Path, card: ModelCard) -> FoundParsers:
    """What the chat template in use says of tool calls and reasoning. Raises ConfigError for an unknown parser."""
    tool_format(asked["tool_call_parser"] or "")
    reasoning_format(asked["reasoning_parser"] or "")
    templates = find_templates(folder)
    if asked["chat_template"]:
        templates = {"default": read_override(asked["chat_template"], templates)}
    return find_parsers(templates, card.model_type)
