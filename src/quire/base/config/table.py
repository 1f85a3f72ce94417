"""The settings table: every setting there is, found by name, option, variable or word."""

from __future__ import annotations

from collections.abc import Iterable

from quire.base.config.groups import (
    cache,
    command,
    engine,
    frontend,
    load,
    logs,
    lora,
    model,
    multimodal,
    observability,
    offload,
    parallel,
    replies,
    scheduler,
    variables_engine,
    variables_kernels,
    variables_machine,
)
from quire.base.config.setting import Setting


class Table:
    """An index over settings. Raises ValueError when two settings claim one option or variable."""

    def __init__(self, settings: Iterable[Setting]) -> None:
        self.all: tuple[Setting, ...] = tuple(settings)
        self.by_dest: dict[str, Setting] = {}
        self.by_option: dict[str, Setting] = {}
        self.by_variable: dict[str, Setting] = {}
        for setting in self.all:
            self._claim(self.by_dest, setting.dest, setting)
            for variable in setting.environment_names:
                self._claim(self.by_variable, variable, setting)
            if setting.has_flag:
                for option in (setting.flag, *setting.aliases, *setting.negative_flags):
                    self._claim(self.by_option, option, setting)

    @staticmethod
    def _claim(index: dict[str, Setting], key: str, setting: Setting) -> None:
        if key in index:
            raise ValueError(f"{key} is claimed by {index[key].name} and by {setting.name}")
        index[key] = setting

    def groups(self) -> dict[str, list[Setting]]:
        """Settings by group, both in the order of declaration."""
        groups: dict[str, list[Setting]] = {}
        for setting in self.all:
            groups.setdefault(setting.group, []).append(setting)
        return groups

    def find(self, name: str) -> Setting | None:
        """A setting by any of its spellings: max-model-len, max_model_len, --max-model-len, VLLM_…, QUIRE_…"""
        if name in self.by_variable:
            return self.by_variable[name]
        if name in self.by_option:
            return self.by_option[name]
        dest = name.lstrip("-").replace("-", "_").lower()
        return self.by_dest.get(dest) or self.by_option.get("--" + dest.replace("_", "-"))

    def search(self, word: str) -> list[Setting]:
        """Settings whose name, variables or doc line hold `word`, in the order of declaration."""
        wanted = word.lower()
        name = wanted.lstrip("-").replace("_", "-")
        return [
            setting
            for setting in self.all
            if name in setting.name
            or wanted in setting.doc.lower()
            or any(wanted in variable.lower() for variable in setting.environment_names)
        ]

    def nearest_options(self, given: str) -> list[str]:
        """The three options closest in spelling to `given`."""
        shown = [setting.flag for setting in self.all if setting.has_flag]
        return nearest("--" + given.lstrip("-").replace("_", "-"), shown, 3)

    def help(self, topic: str = "") -> str:
        """Help for a group, an option, a word or "all"; the overview when `topic` is empty."""
        from quire.base.config.help import help_text

        return help_text(self, topic)


def nearest(given: str, names: Iterable[str], count: int) -> list[str]:
    """The `count` names closest in spelling to `given`, closest first."""
    from difflib import get_close_matches  # only when something is misspelt

    return get_close_matches(given, list(names), n=count, cutoff=0.0)


SETTINGS = Table(
    (
        *command.SETTINGS,
        *model.SETTINGS,
        *model.IN_SHORT,
        *load.SETTINGS,
        *load.IN_SHORT,
        *cache.SETTINGS,
        *cache.IN_SHORT,
        *scheduler.SETTINGS,
        *scheduler.IN_SHORT,
        *frontend.SETTINGS,
        *replies.SETTINGS,
        *logs.SETTINGS,
        *engine.SETTINGS,
        *observability.SETTINGS,
        *parallel.SETTINGS,
        *lora.SETTINGS,
        *multimodal.SETTINGS,
        *offload.SETTINGS,
        *variables_engine.SETTINGS,
        *variables_kernels.SETTINGS,
        *variables_machine.SETTINGS,
    ),
)
