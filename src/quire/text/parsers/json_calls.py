"""Reads calls written as JSON objects, and calls with a plain name before JSON arguments."""

from __future__ import annotations

from quire.text.parsers.draft import MAX_NAME_CHARS, CallDraft
from quire.text.parsers.events import Outbox
from quire.text.parsers.formats import JsonCall, NamedCall
from quire.text.parsers.json_text import JsonCopier, mended, read_string
from quire.text.parsers.source import Source, Steps, discard

_SEPARATORS = ",;"
_OTHER_KEYS = ("id", "type", "tool_call_id", "call_id")


class JsonCalls:
    """One block of JSON calls. `is_bare` when no marker announced them: then only a call of a known tool counts."""

    def __init__(
        self,
        source: Source,
        outbox: Outbox,
        syntax: JsonCall,
        ends: tuple[str, ...],
        *,
        is_bare: bool = False,
    ) -> None:
        self._source = source
        self._outbox = outbox
        self._syntax = syntax
        self._ends = ends
        self._is_bare = is_bare

    def read(self) -> Steps[bool]:
        """Read calls up to the block's end; False when what comes is no call. That part was kept by the source."""
        source, is_list, num_read = self._source, False, 0
        while True:
            # models close one bracket too many more often than any other mistake
            char = yield from source.skip_space(_SEPARATORS + "}" if num_read else _SEPARATORS)
            if num_read and not source.is_keeping:
                source.keep()
            if char == "[" and not is_list and not num_read:
                source.at += 1
                is_list = True
            elif char == "{":
                if not (yield from self._call()):
                    return False
                num_read += 1
            elif is_list and char == "]":
                source.at += 1
                is_list = False
                if not self._ends:
                    return num_read > 0
            else:
                return (yield from self._is_over(num_read))

    def _is_over(self, num_read: int) -> Steps[bool]:
        """Something else than a call: the end marker, the end of the text, or text that has nothing to do with it."""
        marker = (yield from self._source.marker_here(self._ends)) if self._ends else ""
        self._source.at += len(marker)
        return num_read > 0

    def _call(self) -> Steps[bool]:
        """One object. Only its keys are looked at; values other than name and arguments are read and forgotten."""
        source, syntax = self._source, self._syntax
        source.at += 1
        draft = CallDraft(source, self._outbox, must_be_known=self._is_bare)
        is_first = True
        while True:
            char = yield from source.skip_space(",")
            if char == "}":
                source.at += 1
                return draft.finish()
            key = (yield from self._key(char)) if char and char in "\"'" else None
            if key is None or (self._is_bare and is_first and not self._is_call_key(key)):
                return draft.is_told
            is_first = False
            if key in syntax.name_keys:
                char = yield from source.peek()
                if not char or char not in "\"'":
                    return draft.is_told
                source.at += 1
                if not draft.set_name((yield from read_string(source, char))):
                    return False
            elif key in syntax.argument_keys:
                yield from copy_arguments(source, draft, stops=self._ends)
            else:
                yield from JsonCopier(source, discard, stops=self._ends).copy()

    def _is_call_key(self, key: str) -> bool:
        return key in (*self._syntax.name_keys, *self._syntax.argument_keys, *_OTHER_KEYS)

    def _key(self, mark: str) -> Steps[str | None]:
        """A key with its colon, up to its value; None where it is none."""
        source = self._source
        source.at += 1
        key = yield from read_string(source, mark)
        if (yield from source.skip_space()) != ":":
            return None
        source.at += 1
        yield from source.skip_space()
        return key


class NamedCalls:
    """One block that is a name and its arguments."""

    def __init__(self, source: Source, outbox: Outbox, syntax: NamedCall, ends: tuple[str, ...]) -> None:
        self._source = source
        self._outbox = outbox
        self._syntax = syntax
        self._ends = ends

    def read(self) -> Steps[bool]:
        source, syntax = self._source, self._syntax
        char = yield from source.skip_space()
        if syntax.or_json and char and char in "[{":
            return (yield from JsonCalls(source, self._outbox, JsonCall(), self._ends).read())
        draft = CallDraft(source, self._outbox)
        if not (yield from self._name(draft)):
            return False
        if (yield from source.skip_space()) != "{":
            return False
        yield from copy_arguments(source, draft, stops=self._ends, quote=syntax.quote)
        if self._ends:
            yield from source.skip_space("`")  # the end of a fence around the JSON
            yield from source.take_marker(self._ends)
        return draft.finish()

    def _name(self, draft: CallDraft) -> Steps[bool]:
        source, syntax = self._source, self._syntax
        if syntax.before_name and not (
            yield from source.until((syntax.before_name,), discard, limit=MAX_NAME_CHARS)
        ):
            return False
        pieces: list[str] = []
        marker = yield from source.before(syntax.name_ends, pieces.append, limit=MAX_NAME_CHARS)
        if not marker or not draft.set_name(*syntax.read_name("".join(pieces))):
            return False
        if marker != "{":
            source.at += len(marker)
            yield from source.before(("{",), discard, limit=MAX_NAME_CHARS)  # an id, a content type
        return True


def copy_arguments(
    source: Source, draft: CallDraft, *, stops: tuple[str, ...], quote: str = ""
) -> Steps[None]:
    """The value that comes, as the draft's arguments. JSON in a string is taken out of it, null is no arguments."""
    char = yield from source.peek()
    if not char or draft.has_arguments:
        yield from JsonCopier(source, discard, stops=stops, quote=quote).copy()
    elif char in "{[":
        draft.start_arguments()
        yield from JsonCopier(source, draft.write, stops=stops, quote=quote).copy()
    else:
        pieces: list[str] = []
        if char in "\"'":
            source.at += 1
            text = yield from read_string(source, char)
            pieces.append(mended(text)[0] if text.strip() else "{}")
        else:
            yield from JsonCopier(source, pieces.append, stops=stops).copy()
        draft.start_arguments()
        draft.write("{}" if pieces == ["null"] else "".join(pieces))
