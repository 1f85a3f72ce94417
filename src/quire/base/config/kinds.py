"""Kinds of values: how text becomes a value, and the words that say what is allowed.

A kind reads text and raises ValueError when it is not allowed; typed values from YAML or Python go through the
same function by way of their text, so there is one set of rules whatever the origin.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

_Number = TypeVar("_Number", int, float)

TRUE_WORDS = frozenset({"1", "true", "yes", "on"})
FALSE_WORDS = frozenset({"0", "false", "no", "off"})

# lower case counts in thousands and may have decimals, upper case counts in 1024s and may not
_SUFFIXES = {
    "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12,
    "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40,
}  # fmt: skip


# a quoted text, which is left alone, or a number with a suffix
_BARE_NUMBER = re.compile(r'"(?:[^"\\]|\\.)*"|(?P<number>-?[0-9]+(?:\.[0-9]+)?[kmgtKMGT])\b')


class WrongField(ValueError):
    """An object holds a field that its kind does not know; the message is a sentence for the user."""


@dataclass(frozen=True, slots=True)
class Kind:
    """`read` turns text into the value; `allowed` completes the sentence "give …"."""

    metavar: str
    allowed: str
    read: Callable[[str], Any]
    choices: tuple[str, ...] = ()
    is_switch: bool = False
    is_json: bool = False
    bare: str | None = None  # what the option alone, without a value, stands for

    def take(self, value: Any) -> Any:
        """Read a typed value (from YAML, JSON or a Python keyword) by way of its text."""
        if isinstance(value, str):
            return self.read(value)
        try:
            return self.read(json.dumps(value))
        except TypeError:
            raise ValueError(f"{type(value).__name__} is not a plain value") from None


def text() -> Kind:
    return Kind("TEXT", "any text", lambda given: given)


def path() -> Kind:
    return Kind("PATH", "a path", lambda given: given)


def switch() -> Kind:
    """Yes or no: `--x/--no-x`, and 1/0, true/false, yes/no, on/off elsewhere."""

    def read(given: str) -> bool:
        word = given.strip().lower()
        if word not in TRUE_WORDS | FALSE_WORDS:
            raise ValueError(given)
        return word in TRUE_WORDS

    return Kind("", "1 or 0 (or true/false, yes/no, on/off)", read, is_switch=True)


def truth(*true_words: str) -> Kind:
    """A variable that is on for these words, in any case, and off for any other text."""
    return Kind(
        "",
        f"{' or '.join(true_words)} for on, anything else for off",
        _truth_reader(true_words),
        is_switch=True,
    )


def _truth_reader(true_words: tuple[str, ...]) -> Callable[[str], bool]:
    return lambda given: given.strip().lower() in true_words


def presence() -> Kind:
    """A variable that is on as soon as it holds any text, 0 included."""
    return Kind("", "any text for on", bool, is_switch=True)


def unless_zero() -> Kind:
    """A variable that only 0 switches off."""
    return Kind("", "0 for off, anything else for on", lambda given: given != "0", is_switch=True)


def integer_truth() -> Kind:
    """A variable that is read as an integer: 0 is off, any other is on; the words of a switch will do."""

    def read(given: str) -> bool:
        word = given.strip().lower()
        if word in TRUE_WORDS | FALSE_WORDS:
            return word in TRUE_WORDS
        return int(word) != 0

    return Kind("", "an integer: 0 for off, any other for on", read, is_switch=True)


def integer(low: int, high: int | None = None) -> Kind:
    def read(given: str) -> int:
        return _within(int(given), low, high)

    return Kind("INTEGER", f"an integer {_range_text(low, high)}", read)


def omp_threads() -> Kind:
    """OMP_NUM_THREADS as OpenMP defines it: a count, or one for each nesting level, of which the first counts."""

    def read(given: str) -> int:
        return _within(int(given.partition(",")[0]), 1, None)

    return Kind("INTEGER", "an integer of at least 1", read)


def human_integer(low: int) -> Kind:
    """An integer that may be written 2k (2000), 2K (2048), 1.5m, 8G."""

    def read(given: str) -> int:
        return _within(read_human_integer(given), low, None)

    return Kind("INTEGER", f"an integer {_range_text(low, None)}, such as 4096, 4k (4000) or 4K (4096)", read)


def context_length() -> Kind:
    """Tokens, or auto (also -1): read as -1."""

    def read(given: str) -> int:
        if given.strip() in ("auto", "-1"):
            return -1
        return _within(read_human_integer(given), 1, None)

    return Kind("TOKENS", "a number of tokens of at least 1 (4096, 4k, 4K), or auto", read)


def number(low: float, high: float | None = None, *, low_is_allowed: bool = True) -> Kind:
    def read(given: str) -> float:
        value = _within(float(given), low, high)
        if value == low and not low_is_allowed:
            raise ValueError(given)
        return value

    bound = f"at least {low:g}" if low_is_allowed else f"above {low:g}"
    return Kind("NUMBER", f"a number {bound}" + (f" and at most {high:g}" if high is not None else ""), read)


def choice(*names: str, folds: bool = False) -> Kind:
    """One of `names`; with `folds` in any case, and with - for _."""

    def read(given: str) -> str:
        if given in names:
            return given
        folded = {_folded(name): name for name in names}
        if not folds or _folded(given) not in folded:
            raise ValueError(given)
        return folded[_folded(given)]

    return Kind("{" + ",".join(names) + "}", f"one of {', '.join(names)}", read, choices=names)


def _folded(name: str) -> str:
    return name.lower().replace("-", "_")


def number_choice(*numbers: int) -> Kind:
    def read(given: str) -> int:
        if int(given) not in numbers:
            raise ValueError(given)
        return int(given)

    words = tuple(map(str, numbers))
    return Kind("{" + ",".join(words) + "}", f"one of {', '.join(words)}", read, choices=words)


def token() -> Kind:
    """A secret, or the option alone for the login stored on this machine, read as "true"."""
    return Kind("TOKEN", "a token, or no value to use the stored login", lambda given: given, bare="true")


def garbage_log() -> Kind:
    """0 for no log, read as None; 1 for a plain one, read as 0; {"top_objects": n} lists n types, read as n."""

    def read(given: str) -> int | None:
        if given.strip() in ("0", "1"):
            return 0 if given.strip() == "1" else None
        asked = json.loads(given)
        if (
            not isinstance(asked, dict)
            or set(asked) != {"top_objects"}
            or type(asked["top_objects"]) is not int
        ):
            raise ValueError(given)
        return _within(asked["top_objects"], 1, None)

    return Kind("JSON", """0, 1, or a JSON object such as '{"top_objects": 5}'""", read)


def json_fields(name: str, fields: Collection[str], nested: Mapping[str, Collection[str]]) -> Kind:
    """A JSON object with known fields only. Bare numbers may carry a suffix: `{"max_model_len": 4K}`.

    `nested` lists the fields of fields that are objects themselves.
    """

    def check(given: Mapping[str, Any], known: Collection[str], where: str) -> None:
        from difflib import get_close_matches

        for field, value in given.items():
            if field not in known:
                close = get_close_matches(field, known, n=1, cutoff=0.0)[0]
                raise WrongField(f"{field!r} is not a field of {where}; the nearest is {close!r}")
            if field in nested and isinstance(value, dict):
                check(value, nested[field], field)

    def read(given: str) -> dict[str, Any]:
        value = json.loads(_BARE_NUMBER.sub(_spelled_out, given))
        if not isinstance(value, dict):
            raise ValueError(given)
        check(value, fields, name)
        return value

    return Kind("JSON", f"a JSON object of {name}'s fields", read, is_json=True)


def _spelled_out(found: re.Match[str]) -> str:
    number = found["number"]
    return str(read_human_integer(number)) if number else found[0]


def json_object() -> Kind:
    """A JSON object, whole (`--x '{"a": 1}'`) or by dotted keys (`--x.a 1`)."""

    def read(given: str) -> dict[str, Any]:
        value = json.loads(given)
        if not isinstance(value, dict):
            raise ValueError(given)
        return value

    return Kind("JSON", """a JSON object such as '{"key": 1}'""", read, is_json=True)


def read_human_integer(given: str) -> int:
    """4096, 4k, 4K, 25.6k. Raises ValueError for anything else, decimals of a 1024 suffix included."""
    found = re.fullmatch(r"(-?[0-9]+)(\.[0-9]+)?([kmgtKMGT])?", given.strip())
    if found is None:
        raise ValueError(given)
    whole, decimals, suffix = found.groups()
    if decimals is None:
        return int(whole) * _SUFFIXES.get(suffix, 1)
    if suffix is None or suffix.isupper():
        raise ValueError(given)
    # decimals as an exact fraction: 0.1k must be 100, never 99 through binary floating point
    places = len(decimals) - 1
    scaled = int(whole + decimals[1:]) * _SUFFIXES[suffix]
    value, remainder = divmod(scaled, int("1" + "0" * places))
    if remainder:
        raise ValueError(given)
    return value


def _within(value: _Number, low: float, high: float | None) -> _Number:
    if not math.isfinite(value) or not low <= value or (high is not None and value > high):
        raise ValueError(str(value))
    return value


def _range_text(low: int, high: int | None) -> str:
    return f"of at least {low}" if high is None else f"from {low} to {high}"
