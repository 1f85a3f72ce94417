"""The reference page of settings, generated from the table (`make docs`) and compared with it in a test."""

from __future__ import annotations

from quire.base.config.coverage import Coverage, count_coverage
from quire.base.config.setting import Effect, Setting, State
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
    lines += ["", "The serverless worker's variables have [a page of their own](serverless.md)."]
    return "\n".join(lines).rstrip() + "\n"


def _counts(table: Table) -> list[str]:
    """Names by kind and state, and how many wait for what is still to be built."""
    lines = []
    for platform in PLATFORMS:
        found = count_coverage(table, platform)
        lines += [f"| on {platform} | effective | without effect | refused |", "|---|---|---|---|"]
        lines += [
            f"| {kind} | " + " | ".join(str(found.of(kind, effect)) for effect in Effect) + " |"
            for kind in Coverage.kinds
        ]
        lines += [
            "",
            f"{found.num_remaining} of the {found.num_names} names wait for a capability that is still to be built:",
            ", ".join(f"{capability} ({count})" for capability, count in sorted(found.awaited.items())) + ".",
        ]
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
    if setting.fields:
        lines.append("- fields: " + ", ".join(f"`{field}`" for field in setting.fields))
    lines += [f"- on {platform}: {_state(setting.state_on(platform))}" for platform in PLATFORMS]
    lines += [f"- `{value}`: {_state(state)}" for value, state in setting.value_states.items()]
    lines += [f"- since {setting.since}", ""]
    return lines


def _state(state: State) -> str:
    return state.effect.value + (f" ({state.reason})" if state.reason else "")
