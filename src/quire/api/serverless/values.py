"""Reading the text of a variable: numbers, yes and no, JSON; a wrong one is a ConfigError that names it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from quire.api.serverless.variable import UNSET_WORDS
from quire.base.errors import ConfigError

_TRUE_WORDS = frozenset({"1", "true", "yes", "on"})
_FALSE_WORDS = frozenset({"0", "false", "no", "off"})


def given(environ: Mapping[str, str], name: str) -> str:
    """The variable's text, "" when it is absent, empty, None or null."""
    raw = environ.get(name, "").strip()
    return "" if raw.lower() in UNSET_WORDS else raw


def read_switch(name: str, raw: str) -> bool:
    word = raw.strip().lower()
    if word not in _TRUE_WORDS | _FALSE_WORDS:
        raise not_allowed(name, raw, "1 or 0 (or true/false, yes/no, on/off)")
    return word in _TRUE_WORDS


def read_integer(name: str, raw: str, low: int, high: int | None = None) -> int:
    allowed = f"an integer of at least {low}" if high is None else f"an integer from {low} to {high}"
    try:
        value = int(raw)
    except ValueError:
        raise not_allowed(name, raw, allowed) from None
    if value < low or (high is not None and value > high):
        raise not_allowed(name, raw, allowed)
    return value


def read_number(name: str, raw: str, low: float) -> float:
    try:
        value = float(raw)
    except ValueError:
        value = float("nan")
    if not low <= value < float("inf"):
        raise not_allowed(name, raw, f"a number of at least {low:g}")
    return value


def read_object(name: str, raw: str) -> dict[str, Any]:
    try:
        value = json.loads(raw)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise not_allowed(name, raw, """a JSON object such as '{"key": 1}'""")
    return value


def not_allowed(name: str, raw: str, allowed: str) -> ConfigError:
    return ConfigError(f"{name}: {raw!r} is not allowed; give {allowed}", setting=name)


def is_false(raw: str) -> bool:
    return raw.strip().lower() in _FALSE_WORDS
