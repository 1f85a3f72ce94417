"""Plugins: functions that installed packages offer under the entry point group `quire.plugins`.

Each runs once in every process of Quire, before anything else, and may register what it brings. None runs unless
VLLM_PLUGINS names it: a package that happens to be installed does not decide what a server runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quire.base.errors import ConfigError

GROUP = "quire.plugins"


def run_plugins(names: Sequence[str]) -> None:
    """Run the named plugins in the given order. Raises ConfigError when one is not installed or fails."""
    if not names:
        return
    from importlib.metadata import entry_points  # reads every installed package's metadata

    found = {point.name: point for point in entry_points(group=GROUP)}
    for name in names:
        if name not in found:
            there = ", ".join(sorted(found)) or "none"
            raise ConfigError(
                f"VLLM_PLUGINS: no installed package offers {name!r} under {GROUP}; there is {there}",
                setting="plugins",
            )
        try:
            found[name].load()()
        except Exception as problem:  # whatever somebody else's code raises
            raise ConfigError(
                f"VLLM_PLUGINS: {name} failed ({type(problem).__name__}: {problem})", setting="plugins"
            ) from problem


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
