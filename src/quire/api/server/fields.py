"""What each request field of a route means: taken, harmless, or refused by name. Nothing is silently ignored.

`FieldTable.check` looks at names and the few constant values only; types and ranges come later.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from quire.base.errors import InvalidValue, Unsupported, UserError


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a known field is not taken. Values in `unless` ask for what happens anyway, so they pass."""

    reason: str
    unless: tuple[Any, ...] = ()


class FieldTable:
    """One route's fields: `taken` go into its Struct, `harmless` have no effect by definition."""

    def __init__(
        self, *, taken: Iterable[str], harmless: Mapping[str, type], refused: Mapping[str, Refusal]
    ) -> None:
        self._taken = frozenset(taken)
        self._harmless = dict(harmless)
        self._refused = dict(refused)
        self._known = self._taken | self._harmless.keys() | self._refused.keys()
        both = self._taken & (self._harmless.keys() | self._refused.keys())
        assert not both, f"fields both taken and not: {sorted(both)}"

    @property
    def names(self) -> list[str]:
        return sorted(self._known)

    @property
    def harmless(self) -> dict[str, type]:
        return dict(self._harmless)

    @property
    def refused(self) -> dict[str, Refusal]:
        return dict(self._refused)

    def check(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The taken fields alone; raises Unsupported or InvalidValue naming the first other one.

        A known field that is None counts as left out.
        """
        kept: dict[str, Any] = {}
        for name, value in fields.items():
            if value is None and name in self._known:
                continue
            if name in self._taken:
                kept[name] = value
            elif name in self._harmless:
                self._check_harmless(name, value)
            elif name in self._refused:
                self._check_refused(name, value)
            else:
                raise self._unknown(name)
        return kept

    def _check_harmless(self, name: str, value: Any) -> None:
        expected = self._harmless[name]
        if not isinstance(value, expected):
            raise InvalidValue(
                f"{name}: expected `{_JSON_NAMES[expected]}`, got {str(value)[:100]!r}", field=name
            )

    def _check_refused(self, name: str, value: Any) -> None:
        refusal = self._refused[name]
        # bool is an int in Python: `true` must not pass for 1
        if any(type(value) is type(allowed) and value == allowed for allowed in refusal.unless):
            return
        allowed = " or ".join(_spell(value) for value in refusal.unless)
        hint = f" (only {allowed} is taken)" if allowed else ""
        raise Unsupported(f"{name} is not supported: {refusal.reason}{hint}", field=name)

    def _unknown(self, name: str) -> InvalidValue:
        near = get_close_matches(name[:100], self.names, n=1, cutoff=0.6)
        hint = f"; did you mean `{near[0]}`?" if near else ""
        return InvalidValue(f"unknown field `{name[:100]}`{hint}", field=name[:100])


_JSON_NAMES: dict[type, str] = {str: "str", dict: "object", bool: "bool"}


def _spell(value: Any) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else f"`{value}`"


@contextmanager
def renamed(names: Mapping[str, str]) -> Iterator[None]:
    """Errors about a field speak of it by the name this route gives it."""
    try:
        yield
    except UserError as error:
        name = names.get(error.field or "")
        if name is not None:
            error.message = error.message.replace(error.field or "", name, 1)
            error.field = name
        raise
