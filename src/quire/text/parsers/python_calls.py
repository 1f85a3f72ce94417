"""Reads calls written as Python: `[name(key=value, …), …]`, or one after the other. Nothing is ever evaluated."""

from __future__ import annotations

from quire.text.parsers.draft import MAX_NAME_CHARS, CallDraft
from quire.text.parsers.events import Outbox
from quire.text.parsers.json_text import JsonCopier, quoted
from quire.text.parsers.source import Source, Steps


class PythonCalls:
    """One block of calls. `is_bare` when no marker announced them: then only a call of a known tool counts."""

    def __init__(
        self, source: Source, outbox: Outbox, ends: tuple[str, ...], *, is_bare: bool = False
    ) -> None:
        self._source = source
        self._outbox = outbox
        self._ends = ends
        self._is_bare = is_bare

    def read(self) -> Steps[bool]:
        """False when what comes is no call. That part was kept by the source."""
        source, is_list, num_read = self._source, False, 0
        while True:
            char = yield from source.skip_space(",;")
            if num_read and not source.is_keeping:
                source.keep()
            if char == "[" and not is_list and not num_read:
                source.at += 1
                is_list = True
            elif char == "]" and is_list:
                source.at += 1
                is_list = False
                if not self._ends:
                    return num_read > 0
            elif char and (char.isalpha() or char == "_") and (is_list or self._ends):
                if not (yield from self._call()):
                    return False
                num_read += 1
            else:
                marker = (yield from source.marker_here(self._ends)) if self._ends else ""
                source.at += len(marker)
                return num_read > 0

    def _call(self) -> Steps[bool]:
        source = self._source
        draft = CallDraft(source, self._outbox, must_be_known=self._is_bare)
        name = yield from self._word("(")
        if not all(part.isidentifier() for part in name.replace("-", "_").split(".")):
            return False
        if not draft.set_name(name):
            return False
        is_first = True
        while True:
            char = yield from source.skip_space(",")
            if char == ")":
                source.at += 1
                if is_first:
                    return draft.finish()
                draft.write("}")
                return True
            key = (yield from self._word("=")) if char else ""
            if not key.isidentifier():  # a value without a name, or the end of the text
                if draft.is_told:
                    draft.write("}")
                return draft.is_told
            if is_first:
                draft.start_arguments()
            draft.write(("{" if is_first else ", ") + quoted(key) + ": ")
            is_first = False
            yield from JsonCopier(source, draft.write, stops=self._ends, closer=")").copy()

    def _word(self, mark: str) -> Steps[str]:
        """The word before `mark`, which is read; "" where no mark comes soon."""
        pieces: list[str] = []
        found = yield from self._source.until((mark, "\n", *self._ends), pieces.append, limit=MAX_NAME_CHARS)
        return "".join(pieces).strip() if found == mark else ""
