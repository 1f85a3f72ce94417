"""docs/reference/serverless.md, generated from the declared variables (`make docs`) and compared in a test."""

from __future__ import annotations

from collections import Counter

from quire.api.serverless.mapping import PLATFORM, all_variables
from quire.api.serverless.newer_variables import NEWER_VARIABLES, RESERVED
from quire.api.serverless.seed_variables import SEED_VARIABLES
from quire.api.serverless.variable import Use, Variable
from quire.base.config import SETTINGS, Table

STATES = ("option", "worker", "carried over", "without effect", "refused")


def serverless_page(table: Table = SETTINGS) -> str:
    """Counts, then one row for each variable: the documented ones, the newer ones, the remaining options."""
    seed = {variable.name for variable in SEED_VARIABLES}
    newer = {variable.name for variable in NEWER_VARIABLES} - seed
    variables = all_variables(table)
    parts = (
        ("The documented variables", [variable for variable in variables if variable.name in seed]),
        ("Newer variables", [variable for variable in variables if variable.name in newer]),
        (
            "Every other option in capitals",
            sorted(
                (variable for variable in variables if variable.name not in seed | newer),
                key=lambda variable: variable.name,
            ),
        ),
    )
    lines = [
        "# Variables of the worker",
        "",
        "Generated from the declared variables and the settings table by `make docs`; change those, not this page.",
        "",
        "*option*: becomes that option of `quire serve`. *worker*: the worker reads it. *carried over*: an older",
        "name; what it asks for goes to its successor. *without effect*: taken, and the start says so. *refused*:",
        "the start ends with the reason.",
        "",
        "Not read, because containers hold them for other programs: "
        + ", ".join(f"`{name}`" for name in sorted(RESERVED))
        + " (`PORT` only in load-balancer mode).",
        "",
    ]
    lines += ["| variables | " + " | ".join(STATES) + " |", "|---" * (len(STATES) + 1) + "|"]
    for title, members in parts:
        counts = Counter(state_of(variable, table)[0] for variable in members)
        numbers = " | ".join(str(counts[state]) for state in STATES)
        lines.append(f"| {title.lower()} ({len(members)}) | {numbers} |")
    for title, members in parts:
        lines += [
            "",
            f"## {title}",
            "",
            "| variable | default | state | what it does |",
            "|---|---|---|---|",
        ]
        lines += [_row(variable, table) for variable in members]
    return "\n".join(lines) + "\n"


def state_of(variable: Variable, table: Table = SETTINGS) -> tuple[str, str]:
    """(state, what it does or why not) of a variable, with the settings the table holds today."""
    if variable.use in (Use.WORKER, Use.NO_EFFECT, Use.REFUSED):
        return variable.use.value, variable.doc
    setting = table.by_dest.get(variable.setting.replace("-", "_"))
    flag = f"`--{variable.setting}`"
    if setting is None:
        if variable.if_missing:
            return Use.NO_EFFECT.value, variable.if_missing
        taken = (
            f"; only {' or '.join(f'`{word}`' for word in variable.idle)} is taken" if variable.idle else ""
        )
        return Use.REFUSED.value, f"`quire serve` has no {flag} yet{taken}"
    state = setting.state_on(PLATFORM)
    if state.effect.name != "EFFECTIVE":
        return state.effect.value.removesuffix(" here"), f"{flag}: {state.reason}"
    return variable.use.value, f"{flag}" if variable.use is Use.OPTION else variable.doc


def _row(variable: Variable, table: Table) -> str:
    state, what = state_of(variable, table)
    default = f"`{variable.default}`" if variable.default else ""
    return f"| `{variable.name}` | {default} | {state} | {what.replace('|', '/')} |"
