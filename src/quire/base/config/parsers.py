"""Tool-call and reasoning parsers: what the model's chat template suggests, and what the operator made of it."""

from __future__ import annotations

from dataclasses import dataclass

from quire.base.config.asked import Asked
from quire.base.config.resolved import Decision
from quire.base.errors import ConfigError


@dataclass(frozen=True, slots=True)
class FoundParsers:
    """The parsers a model's chat template suggests, and why. Empty names for none, empty reasons for no template."""

    tool: str = ""
    tool_reason: str = ""
    reasoning: str = ""
    reasoning_reason: str = ""


@dataclass(frozen=True, slots=True)
class Parsers:
    """What was decided. Empty names mean that replies are not searched."""

    tool: str
    reasoning: str
    auto_tool_choice: bool
    reasoning_start: str = ""
    reasoning_end: str = ""


def choose_parsers(asked: Asked, found: FoundParsers) -> tuple[Parsers, list[Decision]]:
    """Options win over what was found. Raises ConfigError for automatic tool choice, and for marks of reasoning,
    without a parser."""
    decisions = []
    tool, reasoning = _asked(asked, "tool_call_parser"), _asked(asked, "reasoning_parser")
    for setting in ("structured_outputs_config", "reasoning_config"):
        reasoning = _one_name(reasoning, setting, (asked[setting] or {}).get("reasoning_parser"))
    for name, chosen, why in (
        ("tool-call-parser", tool, (found.tool, found.tool_reason)),
        ("reasoning-parser", reasoning, (found.reasoning, found.reasoning_reason)),
    ):
        if chosen is None and why[1]:
            decisions.append(Decision(name, why[0] or "none", why[1], f"--{name}"))
    tool = found.tool if tool is None else tool
    reasoning = found.reasoning if reasoning is None else reasoning
    auto = asked["enable_auto_tool_choice"]
    if auto and not tool:
        raise ConfigError(
            "--enable-auto-tool-choice needs a parser, and the model's chat template shows no known format: "
            "name one with --tool-call-parser",
            setting="enable_auto_tool_choice",
        )
    start, end = (_text(asked, name) for name in ("reasoning_start_str", "reasoning_end_str"))
    if (start or end) and not reasoning:
        raise ConfigError(
            "--reasoning-config needs a reasoning parser, and the model's chat template shows no known format: name "
            "one with --reasoning-parser",
            setting="reasoning_config",
        )
    parsers = Parsers(tool, reasoning, bool(tool) if auto is None else auto, start, end)
    return parsers, decisions


def reasoning_plugin(asked: Asked) -> str:
    """The file of --reasoning-parser-plugin, which --structured-outputs-config may name as well; "" for none."""
    option: str = asked["reasoning_parser_plugin"]
    field = str((asked["structured_outputs_config"] or {}).get("reasoning_parser_plugin") or "")
    if option and field not in ("", option):
        raise ConfigError(
            "--reasoning-parser-plugin and --structured-outputs-config.reasoning_parser_plugin differ "
            f"({option[:60]!r} and {field[:60]!r}); give one",
            setting="reasoning_parser_plugin",
        )
    return option or field


def _text(asked: Asked, field: str) -> str:
    value = (asked["reasoning_config"] or {}).get(field) or ""
    if not isinstance(value, str):
        raise ConfigError(
            f"--reasoning-config.{field} {str(value)[:60]!r} is not allowed; give text",
            setting="reasoning_config",
        )
    return value


def _one_name(option: str | None, setting: str, field: str | None) -> str | None:
    """Two settings have a field for what --reasoning-parser says. Raises ConfigError where they differ."""
    name = "" if field == "none" else field
    if not field or name == option:
        return option
    if option is not None:
        flag = "--" + setting.replace("_", "-")
        raise ConfigError(
            f"--reasoning-parser and {flag}.reasoning_parser differ ({option!r} and {field[:60]!r}); give one",
            setting="reasoning_parser",
        )
    return name


def _asked(asked: Asked, dest: str) -> str | None:
    """The name given, "" for none at all; None where nothing was given."""
    if not asked.is_given(dest):
        return None
    return "" if asked[dest] == "none" else str(asked[dest] or "")
