"""Help pages of `quire serve`, made from the settings table."""

from __future__ import annotations

import textwrap

from quire.base.config.setting import Effect, Setting
from quire.base.config.table import Table

WIDTH = 100


def help_text(table: Table, topic: str = "") -> str:
    """The overview, or the settings that `topic` (all, a group, an option, a variable, a word) finds."""
    if not topic:
        return _overview(table)
    groups = table.groups()
    by_name = {name.lower(): name for name in groups}
    if topic.lower() == "all":
        return "\n".join(_section(name, settings) for name, settings in groups.items())
    if topic.lower() in by_name:
        name = by_name[topic.lower()]
        return _section(name, groups[name])
    exact = table.find(topic)
    if exact is not None:
        return describe(exact)
    hits = table.search(topic)
    if hits:
        return "\n".join(describe(setting) for setting in hits)
    close = ", ".join(table.nearest_options(topic))
    return f"Nothing is called or mentions {topic!r}. The nearest options are {close}.\n"


def describe(setting: Setting) -> str:
    """One setting: options, what it does, values, default, variables."""
    metavar = setting.kind.metavar
    if setting.has_flag:
        head = ", ".join((setting.flag, *setting.aliases))
        if setting.kind.is_switch:
            head += f", --no-{setting.name}"
        head += f" {metavar}" if metavar else ""
        head += " …" if setting.many else ""
    else:
        head = f"{setting.environment_names[0]}={metavar or '{0,1}'}  (variable only)"
    facts = [f"default: {setting.describe_default()}"]
    variables = setting.environment_names if setting.has_flag else setting.environment_names[1:]
    if variables:
        facts.append("variable: " + ", ".join(variables))
    facts.append(f"since {setting.since}")
    lines = [f"  {head}", *_wrap(setting.doc), *_wrap("; ".join(facts))]
    for platform, state in setting.states.items():
        if state.effect is not Effect.EFFECTIVE:
            where = "" if platform == "*" else f" on {platform}"
            lines += _wrap(f"{state.effect.value}{where}: {state.reason}")
    for value, state in setting.value_states.items():
        lines += _wrap(f"{value} is {state.effect.value}: {state.reason}")
    return "\n".join(lines) + "\n"


def _section(name: str, settings: list[Setting]) -> str:
    return f"{name}\n\n" + "\n".join(describe(setting) for setting in settings)


def _overview(table: Table) -> str:
    lines = [
        "usage: quire serve [MODEL] [options]",
        "",
        "Serve a model over HTTP with the OpenAI API. Without MODEL: the small model that comes with Quire.",
        "",
        "  quire serve --help=all          every option, its default and its environment variable",
        "  quire serve --help=GROUP        one of the groups below",
        "  quire serve --help=max-num      options that are called so or mention it",
        "  quire config show [options]     what these options come to here, and why",
        "",
        "groups, with how many settings they hold:",
        "",
    ]
    lines += [f"  {name:<40} {len(settings):>3}" for name, settings in table.groups().items()]
    return "\n".join(lines) + "\n"


def _wrap(words: str) -> list[str]:
    return textwrap.wrap(
        words,
        WIDTH,
        initial_indent=" " * 6,
        subsequent_indent=" " * 6,
        break_on_hyphens=False,
        break_long_words=False,
    )
