"""A call that is being read: told once its name is known and its arguments begin, and only text before that."""

from __future__ import annotations

from quire.text.parsers.events import Outbox
from quire.text.parsers.source import Source

MAX_NAME_CHARS = 256


class CallDraft:
    """One call between what the model writes and the outbox. `source` forgets the raw text once the call is told.

    With `must_be_known`, only the name of one of the request's tools makes a call.
    """

    def __init__(self, source: Source, outbox: Outbox, *, must_be_known: bool = False) -> None:
        self._source = source
        self._outbox = outbox
        self._must_be_known = must_be_known
        self._name = ""
        self._id = ""
        self.has_arguments = False
        self._waiting: list[str] = []  # arguments that came before the name
        self.is_told = False

    def set_name(self, name: str, call_id: str = "") -> bool:
        """False when that is no name; the text is then no call. The name of a call that was told stays."""
        if self.is_told:
            return True
        if not name or len(name) > MAX_NAME_CHARS or any(char.isspace() for char in name):
            return False
        if self._must_be_known and name not in self._outbox.functions:
            return False
        self._name, self._id = name, call_id
        if self.has_arguments:
            self._tell()
        return True

    @property
    def name(self) -> str:
        return self._name

    def start_arguments(self) -> None:
        self.has_arguments = True
        if self._name and not self.is_told:
            self._tell()

    def write(self, text: str) -> None:
        """More arguments. Once they are one whole JSON value, no more may come."""
        if self.is_told:
            self._outbox.arguments(text)
        else:
            self._waiting.append(text)

    def finish(self) -> bool:
        """The call is complete; False where it never was one. A call without arguments has an empty object."""
        if not self._name:
            return False
        if not self.has_arguments:
            self.start_arguments()
            self.write("{}")
        return True

    def _tell(self) -> None:
        self.is_told = True
        self._source.forget()
        self._outbox.begin_call(self._name, self._id)
        for text in self._waiting:
            self._outbox.arguments(text)
