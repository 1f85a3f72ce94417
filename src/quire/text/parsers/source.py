"""Source: text that arrives in pieces, read as if it were all there.

Parsers are generators. Where the text runs out they yield, and go on when there is more. Every decision here
depends on the text alone, never on where it was cut; so whatever is built of these steps gives the same events
however a reply was cut. What waits is never longer than a marker, so the time is linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from functools import lru_cache
from typing import TypeAlias, TypeVar

_T = TypeVar("_T")
Steps: TypeAlias = Generator[None, None, _T]
Write: TypeAlias = Callable[[str], None]


class Source:
    """The text not read yet is `text[at:]`. `add` brings more, `end` says that no more will come."""

    def __init__(self, text: str = "") -> None:
        self.text = text
        self.at = 0
        self.has_ended = False
        self._kept: list[str] | None = None
        self._kept_from = 0

    def add(self, text: str) -> None:
        if self._kept is not None:
            self._kept.append(self.text[self._kept_from : self.at])
            self._kept_from = 0
        self.text = self.text[self.at :] + text
        self.at = 0

    def end(self) -> None:
        self.has_ended = True

    def keep(self) -> None:
        """Remember what is read from here on, for `take_kept`."""
        self._kept, self._kept_from = [], self.at

    @property
    def is_keeping(self) -> bool:
        return self._kept is not None

    def take_kept(self) -> str:
        """What was read since `keep`; nothing is remembered any longer."""
        kept = "".join(self._kept or []) + self.text[self._kept_from : self.at]
        self.forget()
        return kept

    def forget(self) -> None:
        self._kept, self._kept_from = None, 0

    def peek(self) -> Steps[str]:
        """The next character, "" at the end."""
        while self.at >= len(self.text):
            if self.has_ended:
                return ""
            yield
        return self.text[self.at]

    def skip_space(self, others: str = "") -> Steps[str]:
        """Read white space and the characters of `others`; the character after it."""
        while True:
            char = yield from self.peek()
            if not char or not (char.isspace() or char in others):
                return char
            self.at += 1

    def marker_here(self, markers: tuple[str, ...]) -> Steps[str]:
        """Which of the markers comes now, "" for none; nothing is read. No marker may begin another one."""
        longest = max(map(len, markers), default=0)
        while True:
            ahead = self.text[self.at : self.at + longest]
            if ahead:
                for marker in markers:
                    if ahead.startswith(marker):
                        return marker
            if self.has_ended or not any(marker.startswith(ahead) for marker in markers):
                return ""
            yield

    def take_marker(self, markers: tuple[str, ...]) -> Steps[str]:
        """Like `marker_here`, and the marker is read."""
        marker = yield from self.marker_here(markers)
        self.at += len(marker)
        return marker

    def before(self, markers: tuple[str, ...], write: Write, *, limit: int | None = None) -> Steps[str]:
        """Read up to the first marker and write what was read; the marker, which is not read, or "".

        "" means that the text ended, or that no marker came within `limit` characters; these are read.
        """
        known = _markers(markers)
        room = limit
        while True:
            found = known.search(self.text, self.at)
            end = found.start() if found else len(self.text)
            if not self.has_ended:
                # a longer marker may have begun before this one, or at the end of what is here
                waits_from = known.possible_start(self.text, self.at)
                if waits_from < end:
                    found, end = None, waits_from
            is_too_far = room is not None and end - self.at > room
            if is_too_far:
                found, end = None, self.at + (room or 0)
            if end > self.at:
                write(self.text[self.at : end])
                room = None if room is None else room - (end - self.at)
                self.at = end
            if found:
                return found[0]
            if is_too_far or self.has_ended:
                return ""
            yield

    def until(self, markers: tuple[str, ...], write: Write, *, limit: int | None = None) -> Steps[str]:
        """Like `before`, and the marker is read as well."""
        marker = yield from self.before(markers, write, limit=limit)
        self.at += len(marker)
        return marker


def discard(text: str) -> None:
    """Where text goes that nobody needs."""


def run(steps: Steps[_T]) -> _T:
    """Steps over a source that has ended, to their result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: _T = end.value
            return result


class _Markers:
    """A set of markers, ready to be looked for."""

    def __init__(self, markers: tuple[str, ...]) -> None:
        assert not any(one != other and one.startswith(other) for one in markers for other in markers)
        self.search = re.compile("|".join(map(re.escape, markers))).search  # literals: nothing to go back for
        self._beginnings = {marker[:size] for marker in markers for size in range(1, len(marker))}
        self._longest = max(map(len, markers), default=0)

    def possible_start(self, text: str, at: int) -> int:
        """Where the earliest end of `text` from `at` on begins that may become a marker; its length for none."""
        for start in range(max(at, len(text) - self._longest + 1), len(text)):
            if text[start:] in self._beginnings:
                return start
        return len(text)


_markers = lru_cache(maxsize=256)(_Markers)
