"""From the worker's variables to the command line of `quire serve`. Nothing given is passed over in silence.

Strongest first: the command line, VLLM_EXTRA_ARGS, aliases (TOKENIZER_NAME), options in capitals (TOKENIZER), older
names that were carried over, and last a --config file, which loses against every option.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from quire.api.serverless.newer_variables import NEWER_VARIABLES, OPTION_VARIABLES, RESERVED
from quire.api.serverless.seed_variables import SEED_VARIABLES
from quire.api.serverless.values import given, is_false, not_allowed, read_switch
from quire.api.serverless.variable import Use, Variable, option
from quire.base.config import SETTINGS, Effect, Setting, State, Table
from quire.base.errors import ConfigError

_WRITTEN_IN_PAIRS = frozenset({"LIMIT_MM_PER_PROMPT"})  # older worker: image=1,video=0

PLATFORM = "cpu"  # what the settings' states are looked up for

# the server must not take these for its own, nor needs what the platform gave the worker
_KEPT_FROM_SERVER = (
    "VLLM_PORT",
    "VLLM_BASE_URL",
    "VLLM_STARTUP_TIMEOUT",
    "VLLM_CONFIG_FILE",
    "VLLM_EXTRA_ARGS",
)


@dataclass(slots=True)
class ServerPlan:
    """The server's options by setting, its environment, and what the start tells about the variables."""

    words: dict[str, list[str]] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    extra: list[str] = field(default_factory=list)
    environ: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def arguments(self) -> list[str]:
        """Everything after `quire serve`."""
        model = self.words.get("model", [])
        options = [word for dest, words in self.words.items() if dest != "model" for word in words]
        return [*model, *options, *self.extra]

    def put(self, setting: Setting, words: list[str], source: str) -> None:
        self.words[setting.dest] = words
        self.sources[setting.dest] = source


def all_variables(table: Table = SETTINGS) -> tuple[Variable, ...]:
    """Every variable the worker knows: the declared ones, and each option of the table in capitals."""
    declared = {
        variable.name: variable for variable in (*OPTION_VARIABLES, *NEWER_VARIABLES, *SEED_VARIABLES)
    }
    for setting in table.all:
        name = setting.dest.upper()
        if setting.has_flag and name not in RESERVED:
            declared.setdefault(name, option(name))
    return tuple(declared.values())


def plan_server(environ: Mapping[str, str], words: Sequence[str] = (), table: Table = SETTINGS) -> ServerPlan:
    """Map every known variable of `environ`; `words` are further options of `quire serve`.

    Raises ConfigError, naming the variable, for a value that is not allowed or asks for what does not exist.
    """
    from quire.api.serverless.successors import carry_over

    plan = ServerPlan()
    idle: list[str] = []
    ordered = sorted(all_variables(table), key=lambda variable: variable.is_alias)
    for variable in ordered:
        raw = given(environ, variable.name)
        if not raw or (variable.zero_is_unset and raw == "0"):
            continue
        if variable.use is Use.REFUSED:
            raise ConfigError(f"{variable.name} is refused: {variable.doc}", setting=variable.name)
        if variable.use is Use.NO_EFFECT:
            plan.notes.append(f"{variable.name}={raw} has no effect: {variable.doc}")
        elif variable.use is Use.OPTION:
            _put_option(plan, variable, raw, table, idle)
    carry_over(environ, plan, table, idle)
    if idle:
        plan.notes.append(f"asking for what happens anyway: {', '.join(idle)}")
    plan.extra = _extra_words(environ, words)
    _drop_overridden(plan, table)
    plan.environ = {
        name: value
        for name, value in environ.items()
        if name not in _KEPT_FROM_SERVER and not name.startswith("RUNPOD_")
    }
    _tell_prefix_caching(plan)
    return plan


def _put_option(plan: ServerPlan, variable: Variable, raw: str, table: Table, idle: list[str]) -> None:
    setting = table.by_dest.get(variable.setting.replace("-", "_"))
    if setting is None or not setting.has_flag:
        _without_setting(plan, variable, raw, idle)
        return
    if variable.name in _WRITTEN_IN_PAIRS:
        raw = _pairs_as_json(raw)
    words = option_words(setting, variable.name, raw)
    if is_refused(setting, raw) and asks_for_nothing(variable, raw):
        idle.append(f"{variable.name}={raw}")
        return
    refuse_by_state(setting, variable.name, raw)
    plan.put(setting, words, variable.name)


def _pairs_as_json(raw: str) -> str:
    """image=1,video=0 as a JSON object; anything else as it is."""
    if not re.fullmatch(r"\w+=\d+(,\w+=\d+)*", raw):
        return raw
    return json.dumps({name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", raw)})


def _without_setting(plan: ServerPlan, variable: Variable, raw: str, idle: list[str]) -> None:
    """A variable whose setting the table does not hold: passes when it asks for nothing, else is refused."""
    if asks_for_nothing(variable, raw):
        idle.append(f"{variable.name}={raw}")
    elif variable.if_missing:
        plan.notes.append(f"{variable.name}={raw} has no effect: {variable.if_missing}")
    else:
        raise ConfigError(missing_sentence(variable, raw), setting=variable.name)


def missing_sentence(variable: Variable, raw: str) -> str:
    taken = f" (only {' or '.join(variable.idle)} is taken)" if variable.idle else ""
    lack = f"`quire serve` has no --{variable.setting} yet"
    return f"{variable.name}={raw} is refused: {lack}{taken}; unset the variable"


def asks_for_nothing(variable: Variable, raw: str) -> bool:
    word = raw.strip().lower()
    return word in variable.idle or ("false" in variable.idle and is_false(word))


def is_refused(setting: Setting, raw: str) -> bool:
    """Whether the server would refuse this value here: the setting's state says so, and it is not the default."""
    return _state(setting, raw).effect is Effect.REFUSED


def refuse_by_state(setting: Setting, name: str, raw: str) -> None:
    """Say by the variable's name what the server would say by the option's."""
    if is_refused(setting, raw):
        raise ConfigError(f"{name}={raw} is refused: {_state(setting, raw).reason}", setting=name)


def _state(setting: Setting, raw: str) -> State:
    return setting.state_on(PLATFORM) if setting.many else setting.state_of(setting.kind.read(raw), PLATFORM)


def option_words(setting: Setting, name: str, raw: str) -> list[str]:
    """The option for one variable's text. Raises ConfigError naming the variable."""
    if setting.kind.is_switch:
        return [setting.flag if read_switch(name, raw) else setting.negative_flags[0]]
    items = [raw]
    if setting.many and raw[0] not in "[{":
        items = [item.strip() for item in raw.split(",") if item.strip()]
    for item in items:
        _check(setting, name, item)
    if setting.dest == "model":
        return items  # positional
    if len(items) == 1:
        # in one word, so that a value that begins with a dash is still a value
        return [f"{setting.flag}={items[0]}"]
    return [setting.flag, *items]


def _check(setting: Setting, name: str, item: str) -> None:
    if setting.many and item.startswith("["):
        return  # a JSON list: the server's own reader takes it apart
    try:
        setting.kind.read(item)
    except ValueError:
        raise not_allowed(name, item, setting.kind.allowed) from None


def _extra_words(environ: Mapping[str, str], words: Sequence[str]) -> list[str]:
    raw = environ.get("VLLM_EXTRA_ARGS", "")
    try:
        return [*shlex.split(raw), *words]
    except ValueError as problem:
        raise ConfigError(f"VLLM_EXTRA_ARGS: {problem}; give options as in a shell") from None


def _drop_overridden(plan: ServerPlan, table: Table) -> None:
    """A setting that the extra options name is theirs alone: lists would add up, others would warn."""
    for word in plan.extra:
        name = word.partition("=")[0].replace("_", "-").partition(".")[0]
        setting = table.by_option.get(name) if word.startswith("-") else table.by_dest.get("model")
        if setting is None or setting.dest not in plan.words:
            continue
        if word.startswith("--"):
            del plan.words[setting.dest]
            plan.notes.append(f"{plan.sources[setting.dest]} gives way to {name} among the extra options")


def _tell_prefix_caching(plan: ServerPlan) -> None:
    if plan.words.get("enable_prefix_caching") == ["--no-enable-prefix-caching"]:
        plan.notes.append("prefix caching is off, because ENABLE_PREFIX_CACHING says so; 1 switches it on")
