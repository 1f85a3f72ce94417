"""Plugins: what installed packages offer under entry point groups, run or used only where VLLM_PLUGINS names it.

    quire.plugins, vllm.general_plugins    a function, run once in every process before anything else
    quire.stat_loggers                     a class that hears of every step, in the server

A package that happens to be installed does not decide what a server runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quire.base.errors import ConfigError

GROUPS = ("quire.plugins", "vllm.general_plugins")
STAT_LOGGERS = "quire.stat_loggers"
_FOREIGN = "vllm.stat_logger_plugins"  # made for vLLM's own statistics


def run_plugins(names: Sequence[str]) -> None:
    """Run the named functions in the given order. Raises ConfigError when one is not installed or fails."""
    for name in names:
        if _find(name, (STAT_LOGGERS,)) is not None:
            continue  # the server makes it
        found = _find(name, GROUPS)
        if found is None:
            raise ConfigError(_not_found(name), setting="plugins")
        try:
            found.load()()
        except Exception as problem:  # whatever somebody else's code raises
            raise _failed(name, problem) from problem


def load_stat_loggers(names: Sequence[str]) -> dict[str, Any]:
    """Those of the named plugins that are statistics loggers: what their packages offer, by name."""
    loaded = {}
    for name in names:
        found = _find(name, (STAT_LOGGERS,))
        if found is not None:
            try:
                loaded[name] = found.load()
            except Exception as problem:  # whatever somebody else's code raises
                raise _failed(name, problem) from problem
    return loaded


def _find(name: str, groups: Sequence[str]) -> Any:
    """The first entry point of that name; None when there is none."""
    from importlib.metadata import entry_points  # reads every installed package's metadata

    return next((point for group in groups for point in entry_points(group=group, name=name)), None)


def _failed(name: str, problem: Exception) -> ConfigError:
    return ConfigError(
        f"VLLM_PLUGINS: {name} failed ({type(problem).__name__}: {problem})", setting="plugins"
    )


def _not_found(name: str) -> str:
    if _find(name, (_FOREIGN,)) is not None:
        return (
            f"VLLM_PLUGINS: {name} is a statistics logger of vLLM, and Quire's statistics are others; offer a class "
            f"under {STAT_LOGGERS}, as docs/plugins.md says"
        )
    from importlib.metadata import entry_points

    known = {point.name for group in (*GROUPS, STAT_LOGGERS) for point in entry_points(group=group)}
    return (
        f"VLLM_PLUGINS: no installed package offers {name!r} under {', '.join((*GROUPS, STAT_LOGGERS))}; there is "
        f"{', '.join(sorted(known)) or 'none'}"
    )


def load_entry_point(name: str, groups: Sequence[str], *, setting: str) -> Any:
    """What an installed package offers under this name, in the first of `groups` that has it. Raises ConfigError."""
    from importlib.metadata import entry_points

    flag = "--" + setting.replace("_", "-")
    for group in groups:
        for point in entry_points(group=group, name=name):
            try:
                return point.load()
            except Exception as problem:  # whatever somebody else's code raises
                raise ConfigError(
                    f"{flag}: {name} cannot be loaded ({type(problem).__name__}: {problem})", setting=setting
                ) from problem
    there = (
        ", ".join(sorted({point.name for group in groups for point in entry_points(group=group)})) or "none"
    )
    raise ConfigError(
        f"{flag}: no installed package offers {name!r} under {' or '.join(groups)}; there is {there}; "
        "a class of your own is package.module:Class",
        setting=setting,
    )
