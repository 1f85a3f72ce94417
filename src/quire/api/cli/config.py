"""`quire config`: what every setting comes to here, where its value came from, and what overrides it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from quire.base.config import SETTINGS, Asked, Effect, Resolution, count_coverage
from quire.base.errors import ConfigError

USAGE = """\
usage: quire config show [--json | --all] [MODEL] [serve options]
       quire config explain NAME [MODEL] [serve options]
       quire config coverage [--json]

show lists settings with their value here and where it came from (--all: those that do nothing here as well);
explain tells all about one;
coverage counts how many of the documented names act here, and what the others wait for.
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
    if words[0] == "coverage":
        return _coverage(words[1:])
    raise ConfigError(f"quire config {words[0]}: give show, explain or coverage")


def _coverage(words: list[str]) -> int:
    """Counts per kind and state, and the remainder as one number."""
    if words not in ([], ["--json"]):
        raise ConfigError("quire config coverage takes nothing but --json")
    found = count_coverage(SETTINGS, "cpu")
    if words:
        counts = {kind: {effect.value: found.of(kind, effect) for effect in Effect} for kind in found.kinds}
        document = {
            "platform": found.platform,
            "names": found.num_names,
            "remaining": found.num_remaining,
            "counts": counts,
            "awaited": dict(sorted(found.awaited.items())),
        }
        print(json.dumps(document, indent=2))
        return 0
    print(f"{found.platform:<18}" + "".join(f"{effect.value:>22}" for effect in Effect))
    for kind in found.kinds:
        print(f"{kind:<18}" + "".join(f"{found.of(kind, effect):>22}" for effect in Effect))
    print(f"\n{found.num_remaining} of {found.num_names} names wait for a capability still to be built:")
    for capability, count in found.awaited.most_common():
        print(f"  {count:>3}  {capability}")
    return 0


def _show(words: list[str]) -> int:
    as_json, shows_all = "--json" in words, "--all" in words
    lines, resolution = _resolved([word for word in words if word not in ("--json", "--all")])
    if as_json:
        document = {
            "settings": [asdict(line) for line in lines],
            "memory": asdict(resolution.memory),
        }
        print(json.dumps(document, indent=2))
        return 0
    shown = [line for line in lines if shows_all or line.origin != "default" or _acts_here(line.name)]
    width = max(len(line.name) for line in shown)
    for line in shown:
        print(f"{line.name:<{width}}  {_text(line.value)}  ({_origin(line)})")
    if len(shown) < len(lines):
        hidden = len(lines) - len(shown)
        print(
            f"{hidden} settings that do nothing here are at their defaults; --all lists them", file=sys.stderr
        )
    return 0


def _acts_here(name: str) -> bool:
    setting = SETTINGS.by_dest[name.replace("-", "_")]
    return setting.state_on("cpu").effect is Effect.EFFECTIVE


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
