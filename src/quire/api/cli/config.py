"""`quire config`: what every setting comes to here, where its value came from, and what overrides it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from quire.base.config import SETTINGS, Asked, Resolution
from quire.base.errors import ConfigError

USAGE = """\
usage: quire config show [--json] [MODEL] [serve options]
       quire config explain NAME [MODEL] [serve options]

show lists every setting with its value here and where that value came from; explain tells all about one.
"""


@dataclass(frozen=True, slots=True)
class Line:
    """One setting as it stands: `origin` is flag, file, environment, default or automatic."""

    name: str
    value: Any
    origin: str
    source: str
    reason: str


def config(arguments: Sequence[str]) -> int:
    """Run `quire config …`; returns the exit code."""
    words = list(arguments)
    if not words or "-h" in words or "--help" in words:
        print(USAGE, end="")
        return 0
    if words[0] == "show":
        return _show(words[1:])
    if words[0] == "explain":
        return _explain(words[1:])
    raise ConfigError(f"quire config {words[0]}: give show or explain")


def _show(words: list[str]) -> int:
    as_json = "--json" in words
    lines, resolution = _resolved([word for word in words if word != "--json"])
    if as_json:
        document = {
            "settings": [asdict(line) for line in lines],
            "memory": asdict(resolution.memory),
        }
        print(json.dumps(document, indent=2))
        return 0
    width = max(len(line.name) for line in lines)
    for line in lines:
        print(f"{line.name:<{width}}  {_text(line.value)}  ({_origin(line)})")
    return 0


def _explain(words: list[str]) -> int:
    if not words:
        raise ConfigError("quire config explain needs the name of a setting")
    name, rest = words[0], words[1:]
    setting = SETTINGS.find(name)
    if setting is None:
        close = ", ".join(SETTINGS.nearest_options(name))
        raise ConfigError(f"{name} is not a setting; the nearest are {close}")
    lines, _ = _resolved(rest)
    line = next(line for line in lines if line.name == setting.name)
    print(SETTINGS.help(setting.name), end="")
    print(f"\n  here: {_text(line.value)}  ({_origin(line)})")
    ways = [setting.flag] if setting.has_flag else []
    print(f"  overridden by, strongest first: {', '.join([*ways, *setting.environment_names])}")
    return 0


def _resolved(words: list[str]) -> tuple[list[Line], Resolution]:
    """Every setting of the table as it stands after resolving."""
    from quire.api.startup import prepare_startup

    asked = Asked.from_arguments(words)
    for warning in asked.warnings:
        print(f"quire: {warning}", file=sys.stderr)
    resolution = prepare_startup(asked).resolution
    decisions = {decision.setting: decision for decision in resolution.decisions}
    lines = []
    for setting in SETTINGS.all:
        decision = decisions.pop(setting.name, None)
        origin, source = asked.origin(setting.dest)
        if decision is not None:
            lines.append(Line(setting.name, decision.choice, "automatic", "", decision.reason))
        else:
            value = "set, not shown" if setting.is_secret and asked[setting.dest] else asked[setting.dest]
            if value is None:
                value = setting.describe_default()
            lines.append(Line(setting.name, value, origin, source, ""))
    lines += [
        Line(name, decision.choice, "automatic", "", decision.reason) for name, decision in decisions.items()
    ]
    return lines, resolution


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if value in ("", [], {}):
        return "unset"
    if isinstance(value, (list, dict)):
        return json.dumps(value)
    return str(value)


def _origin(line: Line) -> str:
    return ", ".join(filter(None, (line.origin, line.source, line.reason)))
