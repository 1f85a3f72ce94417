"""The reference page of settings, generated from the table (`make docs`) and compared with it in a test."""

from __future__ import annotations

from collections import Counter

from quire.base.config.setting import Setting
from quire.base.config.table import Table

PLATFORMS = ("cpu",)


def settings_page(table: Table) -> str:
    """docs/reference/settings.md."""
    lines = [
        "# Settings",
        "",
        "Generated from the settings table by `make docs`; change the table, not this page.",
        "",
        "Strongest first: option, `--config` file, `QUIRE_*` variable, `VLLM_*` variable, default. Names are written",
        "with dashes or underscores; yes/no options have a `--no-…` form.",
        "",
        *_counts(table),
    ]
    for group, settings in table.groups().items():
        lines += ["", f"## {group}", ""]
        for setting in settings:
            lines += _entry(setting)
    return "\n".join(lines).rstrip() + "\n"


def _counts(table: Table) -> list[str]:
    lines = ["| platform | effective | without effect | refused |", "|---|---|---|---|"]
    for platform in PLATFORMS:
        counts = Counter(setting.state_on(platform).effect.name for setting in table.all)
        row = (counts["EFFECTIVE"], counts["WITHOUT_EFFECT"], counts["REFUSED"])
        lines.append(f"| {platform} | " + " | ".join(map(str, row)) + " |")
    return lines


def _entry(setting: Setting) -> list[str]:
    name = f"`{setting.flag}`" if setting.has_flag else f"`{setting.environment_names[0]}`"
    lines = [f"### {name}", "", setting.doc, "", f"- default: {setting.describe_default()}"]
    if setting.has_flag:
        options = [setting.flag, *setting.aliases, *setting.negative_flags[:1]]
        value = f" `{setting.kind.metavar}`" if setting.kind.metavar else ""
        lines.append("- option: " + ", ".join(f"`{option}`" for option in options) + value)
    if not setting.kind.is_switch:
        lines.append(f"- value: {setting.kind.allowed}" + (", any number of times" if setting.many else ""))
    if setting.environment_names:
        lines.append("- variable: " + ", ".join(f"`{variable}`" for variable in setting.environment_names))
    for platform in PLATFORMS:
        state = setting.state_on(platform)
        lines.append(
            f"- on {platform}: {state.effect.value}" + (f" ({state.reason})" if state.reason else "")
        )
    lines += [f"- since {setting.since}", ""]
    return lines
