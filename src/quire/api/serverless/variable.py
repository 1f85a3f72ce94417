"""Variable: the declaration of one environment variable. The mapping and its reference page come of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Use(Enum):
    """What the worker does with a variable."""

    OPTION = "option"  # becomes an option of `quire serve`
    SUCCESSOR = "carried over"  # an older name; what it asks for goes to the setting that replaced it
    WORKER = "worker"  # the worker reads it itself
    NO_EFFECT = "without effect"  # taken, and the start says that it does nothing
    REFUSED = "refused"  # the start ends with the reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """One variable, declared once.

    `setting` names the target in the settings table. While the table has no such setting, a value in `idle`
    (compared in lower case; values that ask for what happens anyway, the documented default above all) passes,
    and any other is refused, unless `if_missing` says why it may pass without effect. `doc` says what the worker
    does with it, or why nothing. An `is_alias` wins over the variable that is called like the setting.
    """

    name: str
    use: Use
    setting: str = ""
    idle: tuple[str, ...] = ()
    if_missing: str = ""
    default: str = ""
    doc: str = ""
    is_alias: bool = False
    is_secret: bool = False
    zero_is_unset: bool = False


UNSET_WORDS = frozenset({"", "none", "null"})


def option(
    name: str,
    *idle: str,
    setting: str = "",
    if_missing: str = "",
    default: str = "",
    is_alias: bool = False,
    zero_is_unset: bool = False,
) -> Variable:
    """A variable that is an option in capitals (`setting` where it is called otherwise)."""
    return Variable(
        name=name,
        use=Use.OPTION,
        setting=setting or name.lower().replace("_", "-"),
        idle=idle,
        if_missing=if_missing,
        default=default or (idle[0] if idle else ""),
        is_alias=is_alias,
        zero_is_unset=zero_is_unset,
    )


def successor(
    name: str, setting: str, doc: str, *, idle: tuple[str, ...] = (), default: str = ""
) -> Variable:
    """An older name whose meaning another setting took over; `successors.py` knows how."""
    return Variable(name=name, use=Use.SUCCESSOR, setting=setting, idle=idle, default=default, doc=doc)


def own(name: str, doc: str, *, default: str = "", is_secret: bool = False) -> Variable:
    """A variable of the worker itself."""
    return Variable(name=name, use=Use.WORKER, default=default, doc=doc, is_secret=is_secret)


def idle(name: str, doc: str, *, default: str = "") -> Variable:
    """A variable that is taken and does nothing."""
    return Variable(name=name, use=Use.NO_EFFECT, default=default, doc=doc)


def refused(name: str, doc: str) -> Variable:
    return Variable(name=name, use=Use.REFUSED, doc=doc)
