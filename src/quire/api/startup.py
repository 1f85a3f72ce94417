"""Startup: from what was asked to a resolved configuration, the way every entry takes: server, LLM, tools."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from quire.base.config import Asked, FoundParsers, ModelCard, Resolution, resolve
from quire.base.errors import ConfigError
from quire.base.hardware import Machine, probe_machine
from quire.model.checkpoint import (
    BUILTIN_MODEL,
    locate_model,
    read_card,
    read_generation_config,
    sampling_defaults,
    verify_checkpoint,
)
from quire.text.parsers import find_parsers, reasoning_format, tool_format
from quire.text.template import find_templates, read_override


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
    name = asked["model"] or BUILTIN_MODEL
    folder = locate_model(name, revision=asked["revision"], download_dir=asked["download_dir"])
    card = read_card(folder, name=name, hf_overrides=asked["hf_overrides"])
    if asked["load_format"] != "dummy":
        verify_checkpoint(card)
    card = _with_generation_config(card, asked["generation_config"])
    tokenizer_folder = ""
    if asked["tokenizer"]:
        tokenizer_folder = str(
            locate_model(asked["tokenizer"], revision=None, download_dir=asked["download_dir"])
        )
    lap("model files")
    machine = probe_machine()
    resolution = resolve(
        asked,
        card,
        machine,
        tokenizer_folder=tokenizer_folder,
        found_parsers=_found_parsers(asked, Path(tokenizer_folder or folder), card),
    )
    lap("resolve")
    return Startup(folder, machine, resolution)


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


def _found_parsers(asked: Asked, folder: Path, card: ModelCard) -> FoundParsers:
    """What the chat template in use says of tool calls and reasoning. Raises ConfigError for an unknown parser."""
    tool_format(asked["tool_call_parser"] or "")
    reasoning_format(asked["reasoning_parser"] or "")
    templates = find_templates(folder)
    if asked["chat_template"]:
        templates = {"default": read_override(asked["chat_template"], templates)}
    return find_parsers(templates, card.model_type)
