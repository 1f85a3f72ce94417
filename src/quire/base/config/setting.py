"""Setting: the declaration of one setting. Parser, help, environment, YAML and reference pages all come of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from quire.base.config.kinds import Kind


class Effect(Enum):
    """What a setting does on one platform."""

    EFFECTIVE = "effective"
    WITHOUT_EFFECT = "without effect here"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class State:
    """An effect and, unless it is plainly effective, the reason that is printed."""

    effect: Effect = Effect.EFFECTIVE
    reason: str = ""


EFFECTIVE = State()


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting, declared once.

    `name` is the long option without dashes ("max-model-len"); `dest` is the same with underscores, the
    spelling of Python keywords and YAML keys. `environment` lists documented VLLM_* (or standard) names, each
    VLLM_X has its own QUIRE_X, which wins; a setting without any is QUIRE_<NAME>. `default_text` says what an
    absent default comes to. `states` holds a state for each platform where the setting is not effective, "*"
    for all. With `many` the value is a list and the option may be repeated or given several words.
    `is_for_server` marks what has no meaning for `LLM(...)`.
    """

    name: str
    group: str
    kind: Kind
    doc: str
    default: Any = None
    default_text: str = ""
    aliases: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    has_flag: bool = True
    has_own_environment: bool = True
    many: bool = False
    is_secret: bool = False
    is_for_server: bool = False
    states: dict[str, State] = field(default_factory=dict)
    since: str = "0.1"
    removed: str = ""  # version that dropped it; `doc` then says what replaces it

    @property
    def dest(self) -> str:
        return self.name.replace("-", "_")

    @property
    def flag(self) -> str:
        return f"--{self.name}"

    @property
    def spelling(self) -> str:
        """How messages call it: the option, or the variable where there is no option."""
        return self.flag if self.has_flag else self.environment_names[-1]

    @property
    def negative_flags(self) -> tuple[str, ...]:
        """Options that switch a yes/no setting off: `--no-x`, and `--disable-x` for `--enable-x` (and back)."""
        if not self.kind.is_switch:
            return ()
        negatives = [f"--no-{self.name}"]
        for start, opposite in (("enable-", "disable-"), ("disable-", "enable-")):
            if self.name.startswith(start):
                negatives.append(f"--{opposite}{self.name.removeprefix(start)}")
        return tuple(negatives)

    @property
    def environment_names(self) -> tuple[str, ...]:
        """Variables that carry it, the strongest first."""
        own = [f"QUIRE_{name.removeprefix('VLLM_')}" for name in self.environment if name.startswith("VLLM_")]
        if not own and self.has_own_environment and self.has_flag:
            own = [f"QUIRE_{self.dest.upper()}"]
        return (*own, *self.environment)

    def state_on(self, platform: str) -> State:
        if self.removed:
            return State(Effect.WITHOUT_EFFECT, f"removed in {self.removed}: {self.doc}")
        return self.states.get(platform) or self.states.get("*") or EFFECTIVE

    def describe_default(self) -> str:
        if self.default_text:
            return self.default_text
        if self.kind.is_switch:
            return "on" if self.default else "off"
        if self.default in (None, "", [], {}):
            return "unset"
        return ", ".join(map(str, self.default)) if self.many else str(self.default)
