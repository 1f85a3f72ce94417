"""What one rendering may spend. Every hook of the sandbox asks here before it works or allocates."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from typing import Any

MAX_STEPS = (
    3_000_000  # a fraction of a microsecond each; a round of a loop is one, a string one per 64 characters
)
CALL_STEPS = 12
FILTER_STEPS = 4
MAX_SECONDS = 10.0  # a last resort: steps run out first, except for repeated work on very long strings
MAX_ITEMS = 2_000_000  # of one nested value, each place counted where it occurs
MAX_INTEGER_BITS = 16_384
MAX_COUNT = 10_000  # widths, precisions and counts a template may name
_SECONDS_EVERY = 1_024  # spends between two looks at the clock

_LONG_WIDTH = re.compile(r"\d{5,}|\*")  # in % formats; * takes the width from the values
_LONG_SPEC = re.compile(r"\d{5,}|\{[^{}]*\{")  # in {} formats; a nested {} takes it from the values


class BudgetExceeded(Exception):
    """The template wants more than one rendering may spend."""


class Budget:
    """Steps, time and sizes left to one rendering. `max_chars` bounds every single string, the result included."""

    def __init__(
        self, *, max_chars: int, max_steps: int = MAX_STEPS, max_seconds: float = MAX_SECONDS
    ) -> None:
        self.max_chars = max_chars
        self._steps_left = max_steps
        self._deadline_s = time.monotonic() + max_seconds
        self._until_clock = _SECONDS_EVERY

    def spend(self, steps: int) -> None:
        """Use up `steps`; raise BudgetExceeded when none are left or time is up."""
        self._steps_left -= steps
        if self._steps_left < 0:
            raise BudgetExceeded("it takes too many steps")
        self._until_clock -= 1
        if self._until_clock <= 0:
            self._until_clock = _SECONDS_EVERY
            if time.monotonic() > self._deadline_s:
                raise BudgetExceeded("it takes too long")

    def reserve(self, num_chars: int) -> None:
        """Ask before making a string of `num_chars` characters or a list of as many items."""
        if num_chars > self.max_chars:
            raise BudgetExceeded(f"it makes a text of more than {self.max_chars} characters")
        self.spend(1 + (max(num_chars, 0) >> 6))

    def passed(self, result: Any) -> Any:
        """A finished value, its size paid for."""
        if isinstance(result, str):
            self.reserve(len(result))
        elif isinstance(result, (list, tuple, dict)):
            self.spend(1 + (len(result) >> 3))
        elif type(result) is int:
            self.reserve_integer(result.bit_length())
        return result

    def reserve_integer(self, num_bits: int) -> None:
        if num_bits > MAX_INTEGER_BITS:
            raise BudgetExceeded(f"it computes an integer of more than {MAX_INTEGER_BITS} bits")

    def count(self, wanted: Any) -> None:
        """Check a width, precision or count that a template names."""
        if isinstance(wanted, int) and abs(wanted) > MAX_COUNT:
            raise BudgetExceeded(f"it asks for a width or count of more than {MAX_COUNT}")

    def size_of(self, *values: Any) -> int:
        """Characters and items of nested values; raises when too many.

        A template can build a small list whose spelled-out form is astronomically large, by putting a list
        twice into the next. Whoever walks a value to its leaves (printing, comparing, hashing) asks first.
        """
        num_items = num_chars = 0
        stack = list(values)
        while stack:
            item = stack.pop()
            num_items += 1
            if isinstance(item, str):
                num_chars += len(item)
            elif isinstance(item, (list, tuple, set, frozenset)):
                stack.extend(item)
            elif isinstance(item, dict):
                stack.extend(item.keys())
                stack.extend(item.values())
            if num_items > MAX_ITEMS or num_chars > self.max_chars:
                raise BudgetExceeded("it works on a value that is too large")
        self.spend(1 + (num_items >> 3))
        return num_chars + num_items

    def rounds(self, iterable: Any) -> Any:
        """`iterable`, each of its items paid for: at once where the number is known, else one by one."""
        if hasattr(iterable, "__len__"):
            self.spend(1 + len(iterable))
            return iterable
        return self._counted(iterable)

    def _counted(self, iterable: Iterable[Any]) -> Iterator[Any]:
        for item in iterable:
            self.spend(1)
            yield item

    def check_format(self, text: str, values: Any, sign: str) -> None:
        """Ask before filling `values` into a format; `sign` is what introduces a place, "%" or "{"."""
        if (_LONG_WIDTH if sign == "%" else _LONG_SPEC).search(text):
            raise BudgetExceeded("it formats with a very large width")
        self.reserve(len(text) + text.count(sign) * (MAX_COUNT + self.size_of(values)))

    def check_replace(self, text: str, old: str, new: str) -> None:
        """Ask before `text.replace(old, new)`."""
        self.reserve(len(text) + text.count(old) * max(0, len(new) - len(old)))

    def check_join(self, separator: str, items: list[Any]) -> None:
        """Ask before joining `items`."""
        self.reserve(self.size_of(items) + len(separator) * len(items))
