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


def choose_parsers(asked: Asked, found: FoundParsers) -> tuple[Parsers, list[Decision]]:
    """Options win over what was found. Raises ConfigError for automatic tool choice without a parser."""
    decisions = []
    tool, reasoning = _asked(asked, "tool_call_parser"), _asked(asked, "reasoning_parser")
    reasoning = _one_name(reasoning, (asked["structured_outputs_config"] or {}).get("reasoning_parser"))
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
    return Parsers(tool, reasoning, bool(tool) if auto is None else auto), decisions


def _one_name(option: str | None, field: str | None) -> str | None:
    """--structured-outputs-config has a field for what --reasoning-parser says."""
    if not field or field == option:
        return option
    if option is not None:
        raise ConfigError(
            f"--reasoning-parser and --structured-outputs-config.reasoning_parser differ ({option!r} and "
            f"{field[:60]!r}); give one",
            setting="reasoning_parser",
        )
    return field


def _asked(asked: Asked, dest: str) -> str | None:
    """The name given, "" for none at all; None where nothing was given."""
    if not asked.is_given(dest):
        return None
    return "" if asked[dest] == "none" else str(asked[dest] or "")
