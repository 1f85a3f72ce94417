"""Which formats a model writes: read off its chat template and model type, or named by the operator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

from quire.base.config import FoundParsers, ServerConfig
from quire.base.errors import ConfigError
from quire.text.parsers.formats import ReasoningFormat, ToolFormat
from quire.text.parsers.reasoning_table import REASONING_FORMATS
from quire.text.parsers.tool_table import TOOL_FORMATS

_Format = TypeVar("_Format", ToolFormat, ReasoningFormat)


def find_parsers(templates: Mapping[str, str], model_type: str) -> FoundParsers:
    """What the model's chat templates say of its formats; empty names where they show none that is known."""
    source = "\n".join(templates.values())
    if not source:
        return FoundParsers()
    tool, why_tool = _first(TOOL_FORMATS.values(), source, model_type)
    reasoning, why_reasoning = _first(REASONING_FORMATS.values(), source, model_type)
    return FoundParsers(tool, why_tool, reasoning, why_reasoning)


def _first(formats: Iterable[_Format], source: str, model_type: str) -> tuple[str, str]:
    """(name, reason) of the first format whose signs all show."""
    for one in formats:
        if one.model_types and model_type not in one.model_types:
            continue
        for signs in one.signs:
            if all(sign in source for sign in signs):
                of_type = f", and the model is of type {model_type}" if one.model_types else ""
                return one.name, f"the chat template has {' and '.join(signs)}{of_type}"
    return "", "the chat template shows no known format"


def tool_format(name: str) -> ToolFormat | None:
    """The format `--tool-call-parser` names; None for "" and "none". Raises ConfigError listing the known ones."""
    return _named(name, TOOL_FORMATS, "tool_call_parser")


def reasoning_format(name: str, *, start: str = "", end: str = "") -> ReasoningFormat | None:
    """The format `--reasoning-parser` names; None for "" and "none". Raises ConfigError listing the known ones.

    `start` and `end` are those of `--reasoning-config`: one more beginning, and what is written when a budget of
    thinking is spent. Raises ConfigError for an `end` whose last word is none of the format's own ends.
    """
    end = end.rstrip()
    found = _named(name, REASONING_FORMATS, "reasoning_parser")
    if found is None or not (start or end):
        return found
    ends = found.ends or ((end,) if end else ())  # a class of a plugin file keeps its markers to itself
    if end and not end.endswith(ends):
        raise ConfigError(
            f"--reasoning-config.reasoning_end_str {end[:100]!r} does not end reasoning as the parser {name} reads "
            f"it: it must close with {' or '.join(ends)}",
            setting="reasoning_config",
        )
    begins = found.begins
    if start and not (begins and start.startswith(begins)):
        begins = (*(mark for mark in begins if not mark.startswith(start)), start)
    return replace(found, begins=begins, ends=ends, forced_end=end)


def reasoning_of(config: ServerConfig) -> ReasoningFormat | None:
    """The format a server reads reasoning by. Raises ConfigError as `reasoning_format` does."""
    return reasoning_format(config.reasoning_parser, start=config.reasoning_start, end=config.reasoning_end)


def _named(name: str, formats: Mapping[str, _Format], setting: str) -> _Format | None:
    if name in ("", "none"):
        return None
    if name not in formats:
        flag = "--" + setting.replace("_", "-")
        raise ConfigError(
            f"{flag} {name[:100]!r} is not known; known are {', '.join(sorted(formats))}, and none",
            setting=setting,
        )
    return formats[name]
