"""The command-line reader: argparse finds the options, everything about their values is read from the table.

Beyond plain options it knows: dashes or underscores in names, `--x/--no-x`, dotted keys of JSON options
(`--x.a.b 1`, `--x.list+ item`), repeated options (the last wins, with a warning; lists and keys add up).
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from quire.base.config.asked import Given, means_unset, read_value
from quire.base.config.kinds import read_human_integer
from quire.base.config.setting import Setting
from quire.base.config.table import Table
from quire.base.errors import ConfigError

# argparse's words → ours
_COMPLAINTS = (
    (r"^argument (\S+): expected one argument", r"\1 needs a value"),
    (r"^argument (\S+): expected at least one argument", r"\1 needs at least one value"),
    (r"^argument (\S+): ignored explicit argument (.*)", r"\1 takes no value, not even \2; write it alone"),
    (r"^ambiguous option: (\S+) could match", r"\1 is short for several options:"),
)
_GONE = {"--task": "say what the model is for with --runner and how to adapt it with --convert"}
_POSITIONAL = "model"  # the setting that a word without an option gives


class _Found:
    """What the scan collected, in order: plain options, dotted keys, stray words, warnings."""

    def __init__(self) -> None:
        self.options: list[tuple[Setting, str, list[str]]] = []
        self.dotted: list[tuple[Setting, str, list[str], Any]] = []
        self.warnings: list[str] = []


class _Scanner(argparse.ArgumentParser):
    """argparse with its complaints turned into ConfigError."""

    def error(self, message: str) -> NoReturn:
        for theirs, ours in _COMPLAINTS:
            message = re.sub(theirs, ours, message)
        raise ConfigError(message)


def read_arguments(arguments: Sequence[str], table: Table) -> tuple[dict[str, Given], list[str]]:
    """Values given as options, and warnings. Raises ConfigError for an unknown option or a wrong value."""
    found = _Found()
    plain = _split_dotted(arguments, table, found)
    scanner = _build_scanner(table, found)
    _, rest = scanner.parse_known_args(plain)
    words = [word for word in rest if word != "--"]
    for word in words:
        if word.startswith("-"):
            raise ConfigError(_unknown_option(word, table))
    if len(words) > 1:
        raise ConfigError(f"{words[1]!r} is one word too many: give one model, and options with --")
    return _values(found, words, table), found.warnings


def _build_scanner(table: Table, found: _Found) -> argparse.ArgumentParser:
    class Record(argparse.Action):
        def __call__(
            self, parser: Any, namespace: Any, values: Any, option_string: str | None = None
        ) -> None:
            option = option_string or ""
            setting = table.by_option[option]
            words = [values] if isinstance(values, str) else list(values)
            if setting.kind.is_switch:
                words = ["0" if option in setting.negative_flags else "1"]
            found.options.append((setting, option, words))

    scanner = _Scanner(prog="quire serve", add_help=False, argument_default=argparse.SUPPRESS)
    for option, setting in table.by_option.items():
        nargs: str | int | None = 0 if setting.kind.is_switch else "+" if setting.many else None
        if setting.kind.bare is not None:
            scanner.add_argument(option, action=Record, nargs="?", const=setting.kind.bare, dest=setting.dest)
        else:
            scanner.add_argument(option, action=Record, nargs=nargs, dest=setting.dest)
    return scanner


def _values(found: _Found, words: list[str], table: Table) -> dict[str, Given]:
    layer: dict[str, Given] = {}
    for setting, option, texts in found.options:
        raw: Any = texts if setting.many else texts[0]
        if means_unset(setting, raw):
            layer.pop(setting.dest, None)
            continue
        value = read_value(setting, raw, option)
        earlier = layer.get(setting.dest)
        if earlier is not None and setting.many:
            value = [*earlier.value, *value]
        elif earlier is not None and setting.name == "config":
            raise ConfigError(
                "--config is given more than once; put everything into one file", setting="config"
            )
        elif earlier is not None:
            found.warnings.append(f"{option} is given more than once; the last one counts")
        layer[setting.dest] = Given(value, "flag", option)
    for setting, option, keys, value in found.dotted:
        earlier = layer.get(setting.dest)
        merged = json.loads(json.dumps(earlier.value)) if earlier is not None else {}
        _put(merged, keys, value, option, found.warnings)
        layer[setting.dest] = Given(read_value(setting, merged, option), "flag", option)
    if _POSITIONAL in layer and not words:
        found.warnings.append("--model is read, but the model's place is the first word after `quire serve`")
    if words:
        if _POSITIONAL in layer:
            found.warnings.append(f"--model is ignored: the first word, {words[0]!r}, names the model")
        value = read_value(table.by_dest[_POSITIONAL], words[0], "MODEL")
        layer[_POSITIONAL] = Given(value, "flag", "MODEL")
    return layer


def _split_dotted(arguments: Sequence[str], table: Table, found: _Found) -> list[str]:
    """Take dotted keys out of the words and spell the other options with dashes."""
    plain: list[str] = []
    words = iter(arguments)
    for word in words:
        if not word.startswith("-") or word == "--":
            plain.append(word)
            continue
        name, equals, text = word.partition("=")
        head, dot, keys = name.partition(".")
        head = "--" + head[2:].replace("_", "-") if head.startswith("--") else head
        setting = table.by_option.get(head)
        if not dot or setting is None or not setting.kind.is_json:
            plain.append(f"{head}{dot}{keys}{equals}{text}")
            continue
        if not equals:
            following = next(words, None)
            if following is None:
                raise ConfigError(f"{name} needs a value", setting=setting.dest)
            text = following
        appends = keys.endswith("+")
        value = text.split(",") if appends else _dotted_value(text)
        found.dotted.append((setting, name, keys.split("."), value))
    return plain


def _dotted_value(text: str) -> Any:
    """JSON where it is JSON, a human integer (4K) where it is one, else the text itself."""
    for read in (json.loads, read_human_integer):
        try:
            return read(text)
        except ValueError:
            continue
    return text


def _put(target: dict[str, Any], keys: list[str], value: Any, option: str, warnings: list[str]) -> None:
    """Set (or, when the last key ends in +, extend) the entry that `keys` lead to."""
    for key in keys[:-1]:
        target = target.setdefault(key, {})
        if not isinstance(target, dict):
            raise ConfigError(f"{option}: {key} already holds a plain value, it has no keys")
    last = keys[-1]
    if last.endswith("+"):
        items = target.setdefault(last[:-1], [])
        if not isinstance(items, list):
            raise ConfigError(f"{option}: {last[:-1]} already holds a plain value, not a list")
        items.extend(value)
        return
    if last in target:
        warnings.append(f"{option} is given more than once; the last one counts")
    target[last] = value


def _unknown_option(word: str, table: Table) -> str:
    option = word.partition("=")[0]
    if option.replace("_", "-") in _GONE:
        return f"{option} is not an option; {_GONE[option.replace('_', '-')]}"
    return f"{option} is not an option; the nearest are {', '.join(table.nearest_options(option))}"
