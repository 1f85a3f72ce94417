"""Stop strings over text that arrives in pieces. Nothing is released that a later piece could take back."""

from __future__ import annotations


class StopScanner:
    """Finds the stop string that is complete first, reading character by character; the longest one on a tie.

    That rule does not depend on how the text was cut into pieces. Text that could be the start of a stop
    string is held back until it is certain, unless stop strings are part of the output anyway.
    """

    def __init__(self, stops: list[str], *, keep_stop: bool) -> None:
        self._stops = stops
        self._keep_stop = keep_stop
        self._longest = max(map(len, stops), default=0)
        self._tail = ""  # the last `longest - 1` characters seen
        self._held = ""  # seen, not released: always a suffix of `_tail`
        self.match: str | None = None

    def feed(self, text: str, *, may_match: bool = True) -> str:
        """Take new text, return what may be shown now. With `may_match` off, no stop string may end inside it."""
        if not self._stops:
            return text
        window = self._tail + text
        found = self._first_match(window, len(self._tail)) if may_match else None
        if found is not None:
            start, self.match = found
            shown_until = start + len(self.match) if self._keep_stop else start
            return window[len(self._tail) - len(self._held) : shown_until]
        pending = self._held + text
        num_held = 0 if self._keep_stop else self._possible_start(pending)
        self._tail = window[max(0, len(window) - self._longest + 1) :]
        self._held = pending[len(pending) - num_held :]
        return pending[: len(pending) - num_held]

    def flush(self) -> str:
        """Release what was held back: no more text will come."""
        held, self._held = self._held, ""
        return held

    def _first_match(self, window: str, num_old: int) -> tuple[int, str] | None:
        """(start, stop string) of the match that ends earliest in `window`, past its first `num_old` characters."""
        best: tuple[int, int, str] | None = None
        for stop in self._stops:
            start = window.find(stop, max(0, num_old - len(stop) + 1))
            if start >= 0 and (best is None or (start + len(stop), start) < best[:2]):
                best = (start + len(stop), start, stop)
        return None if best is None else (best[1], best[2])

    def _possible_start(self, pending: str) -> int:
        """Length of the longest end of `pending` that is a true beginning of a stop string."""
        for length in range(min(len(pending), self._longest - 1), 0, -1):
            end = pending[len(pending) - length :]
            if any(stop.startswith(end) and len(stop) > length for stop in self._stops):
                return length
        return 0
