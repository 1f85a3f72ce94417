"""Asked: what the user asked for, with the origin of each value. Nothing here knows model or machine.

Order of strength: option on the command line (or Python keyword), then `--config` file, then environment
(QUIRE_* before VLLM_*), then the declared default.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from quire.base.config.kinds import WrongField
from quire.base.config.resolved import Decision
from quire.base.config.setting import Effect, Setting
from quire.base.config.table import SETTINGS, Table, nearest
from quire.base.errors import ConfigError

Origin = Literal["flag", "keyword", "file", "environment", "default"]


@dataclass(frozen=True, slots=True)
class Given:
    """A value somebody gave. `source` is where, as the user would recognise it: --port, VLLM_API_KEY, a file."""

    value: Any
    origin: Origin
    source: str


@dataclass(frozen=True, slots=True)
class Asked:
    """Values by `dest` (underscored name), and what the user should be told about them."""

    given: Mapping[str, Given]
    warnings: tuple[str, ...] = ()
    table: Table = SETTINGS

    @classmethod
    def from_arguments(
        cls, arguments: Sequence[str], environ: Mapping[str, str] | None = None, table: Table = SETTINGS
    ) -> Asked:
        """Read `quire serve`'s words, the file that `--config` names, and the environment. Raises ConfigError."""
        from quire.base.config.arguments import read_arguments

        flags, warnings = read_arguments(arguments, table)
        return cls._layered(flags, warnings, environ, table)

    @classmethod
    def from_keywords(cls, keywords: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Asked:
        """Read Python keywords (`LLM(**keywords)`) and the environment. None means not given. Raises ConfigError."""
        given = {}
        for name, value in keywords.items():
            setting = SETTINGS.by_dest.get(name)
            if setting is None:
                close = ", ".join(nearest(name, SETTINGS.by_dest, 3))
                raise ConfigError(f"{name} is not a setting; the nearest are {close}", setting=name)
            if setting.is_for_server:
                raise ConfigError(
                    f"{name} is a setting of `quire serve` and means nothing here", setting=name
                )
            if value is not None:
                given[name] = Given(read_value(setting, value, f"{name}="), "keyword", f"{name}=")
        return cls._layered(given, [], environ, SETTINGS)

    @classmethod
    def _layered(
        cls, strongest: dict[str, Given], warnings: list[str], environ: Mapping[str, str] | None, table: Table
    ) -> Asked:
        from quire.base.config.environment import read_environment, unknown_variables

        environ = os.environ if environ is None else environ
        layers = [read_environment(environ, table)]
        if "config" in strongest:
            from quire.base.config.file import read_file

            layers.append(read_file(str(strongest["config"].value), table))
        merged: dict[str, Given] = {}
        for layer in (*layers, strongest):
            merged.update(layer)
        _check_names_have_a_model(merged)
        unknown = unknown_variables(environ, table)
        strict = merged.get("fail_on_environ_validation")
        if unknown and strict is not None and strict.value:
            raise ConfigError("; ".join(unknown), setting="fail_on_environ_validation")
        return cls(merged, (*warnings, *unknown), table)

    def __getitem__(self, dest: str) -> Any:
        """The value given, else the declared default (None where that depends on model and machine)."""
        given = self.given.get(dest)
        return self.table.by_dest[dest].default if given is None else given.value

    def is_given(self, dest: str) -> bool:
        if dest not in self.table.by_dest:
            raise KeyError(dest)
        return dest in self.given

    def refuse_by_state(self, platform: str) -> list[Decision]:
        """Apply each setting's state: raise ConfigError for a refused one, note one without effect."""
        notes = []
        for dest, given in self.given.items():
            setting = self.table.by_dest[dest]
            state = setting.state_of(given.value, platform)
            if state.effect is Effect.EFFECTIVE or setting.is_shared:
                continue
            if state.effect is Effect.REFUSED:
                shown = _shown_value(setting, given)
                raise ConfigError(f"{given.source}{shown} is refused: {state.reason}", setting=dest)
            notes.append(Decision(setting.name, "without effect here", state.reason, ""))
        return notes

    def origin(self, dest: str) -> tuple[Origin, str]:
        """(origin, source) of a value: ("environment", "VLLM_API_KEY"), ("default", "")."""
        given = self.given.get(dest)
        return ("default", "") if given is None else (given.origin, given.source)


def _check_names_have_a_model(merged: Mapping[str, Given]) -> None:
    """`--served-model-name a org/model` would swallow the model: a list takes every word that follows it."""
    names = merged.get("served_model_name")
    if names is None or names.origin != "flag" or "model" in merged:
        return
    if len(names.value) > 1 and "/" in names.value[-1]:
        raise ConfigError(
            f"--served-model-name {' '.join(names.value)} names no model: give the model first, before the options",
            setting="served_model_name",
        )


def _shown_value(setting: Setting, given: Given) -> str:
    """The value as it stands behind its option or variable, cut short; nothing for switches and secrets."""
    if setting.is_secret or (setting.kind.is_switch and given.origin != "environment"):
        return ""
    text = given.value if isinstance(given.value, str) else json.dumps(given.value)
    text = text if len(text) <= 60 else text[:60] + "…"
    return f"={text}" if given.origin == "environment" else f" {text}"


def read_value(setting: Setting, raw: Any, source: str) -> Any:
    """`raw` (text, or a typed value from YAML or Python) as the setting's value. Raises ConfigError."""
    if setting.many:
        return [_read_one(setting, item, source) for item in _items(setting, raw, source)]
    return _read_one(setting, raw, source)


def means_unset(setting: Setting, raw: Any) -> bool:
    """Whether `raw` says "as if not given": empty or None, on a setting whose default is not a value."""
    return setting.default is None and not setting.many and raw in (None, "", "None")


def _items(setting: Setting, raw: Any, source: str) -> list[Any]:
    """The items of a list setting, from words, a list, or one JSON list."""
    items = raw if isinstance(raw, list) else [raw]
    if len(items) == 1 and isinstance(items[0], str) and items[0].startswith("["):
        try:
            items = json.loads(items[0])
        except ValueError:
            raise ConfigError(_not_allowed(setting, items[0], source), setting=setting.dest) from None
    return items


def _read_one(setting: Setting, raw: Any, source: str) -> Any:
    try:
        return setting.kind.take(raw)
    except WrongField as problem:
        raise ConfigError(f"{source}: {problem}", setting=setting.dest) from None
    except ValueError:
        raise ConfigError(_not_allowed(setting, raw, source), setting=setting.dest) from None


def _not_allowed(setting: Setting, raw: Any, source: str) -> str:
    shown = "the value" if setting.is_secret else repr(raw)
    return f"{source}: {shown} is not allowed; give {setting.kind.allowed}"
