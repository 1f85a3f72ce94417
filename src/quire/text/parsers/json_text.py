"""JSON as models write it, copied piece by piece into JSON that parses.

Mended: Python's quotes and literals, bare words, commas and colons that are missing or too many, brackets that do
not match or are never closed, raw line ends in strings, unknown escapes. So every text, cut anywhere, becomes
one JSON value, and what was written so far is always the beginning of it.
"""

from __future__ import annotations

import json
import re

from quire.text.parsers.source import Source, Steps, Write, run

MAX_DEPTH = 128  # deeper values end there: most JSON readers give up at a few hundred
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?\Z")
_LITERALS = {
    "true": "true", "false": "false", "null": "null", "True": "true", "False": "false", "None": "null",
    "NaN": "null", "Infinity": "null", "-Infinity": "null", "undefined": "null",
}  # fmt: skip
_IN_DOUBLE = re.compile(r'["\\\x00-\x1f]')
_IN_SINGLE = re.compile(r"[\"'\\\x00-\x1f]")
_HEX = frozenset("0123456789abcdefABCDEF")


class JsonCopier:
    """Copies one value. `stops` are markers that end it wherever they stand outside a string.

    `quote` is a marker that encloses strings besides " and '. `closer` is one more character that ends a bare
    word at the top (a call's parenthesis).
    """

    def __init__(
        self, source: Source, write: Write, *, stops: tuple[str, ...] = (), quote: str = "", closer: str = ""
    ) -> None:
        self._source = source
        self._write = write
        self._stops = stops
        self._quote = quote
        self._closer = closer
        self._stack: list[str] = []  # "{" and "[", the innermost last
        self._is_filled: list[bool] = []  # whether each has an element, so that the next needs a comma
        self._expects = "value"  # or "item" (of a list), "key", "colon", "comma", "nothing"
        self._value_ends = (*",]}\n", *stops)
        self._key_ends = (*":,}\n", *stops)

    def copy(self) -> Steps[None]:
        source = self._source
        while self._expects != "nothing":
            char = yield from source.skip_space()
            if not char or (char == self._closer and not self._stack):
                break
            if self._stops and (yield from source.marker_here(self._stops)):
                break
            if char in "]}":
                if not self._close(char):
                    break
                source.at += 1
            elif char in ",:":
                if not self._stack:
                    break
                source.at += 1
                self._separate(char)
            else:
                yield from self._element(char)
        while self._expects != "nothing":
            self._pop()

    def _close(self, char: str) -> bool:
        """Close brackets up to the one that `char` closes; False where nothing is open, so it is not ours."""
        opener = "{" if char == "}" else "["
        if not self._stack:
            return False
        if opener in self._stack:
            while self._stack:
                innermost = self._stack[-1]
                self._pop()
                if innermost == opener:
                    break
        return True

    def _pop(self) -> None:
        """Close the innermost bracket, or the missing value at the top."""
        if self._expects == "colon":
            self._write(": null")
        elif self._expects == "value":
            self._write("null")
        if self._stack:
            self._is_filled.pop()
            self._write("}" if self._stack.pop() == "{" else "]")
        self._expects = "comma" if self._stack else "nothing"

    def _separate(self, char: str) -> None:
        if char == ":":
            if self._expects == "colon":
                self._write(": ")
                self._expects = "value"
            return
        if self._expects == "colon":
            self._write(": null")
        elif self._expects == "value":
            self._write("null")
        self._expect_next()

    def _expect_next(self) -> None:
        self._expects = "key" if self._stack[-1] == "{" else "item"

    def _element(self, char: str) -> Steps[None]:
        """A key or a value begins, perhaps without the colon or comma that should stand before it."""
        if self._expects == "colon":
            self._write(": ")
            self._expects = "value"
        elif self._expects == "comma":
            self._expect_next()
        is_key = self._expects == "key"
        if self._expects in ("key", "item"):
            if self._is_filled[-1]:
                self._write(", ")
            self._is_filled[-1] = True
        if char in "{[" and not is_key:
            self._open(char)
            return
        yield from self._scalar(char, is_key=is_key)
        if is_key:
            self._expects = "colon"
        else:
            self._expects = "comma" if self._stack else "nothing"

    def _open(self, char: str) -> None:
        self._source.at += 1
        if len(self._stack) == MAX_DEPTH:
            self._write("null")
            self._expects = "comma"
            while self._stack:
                self._pop()
            return
        self._write(char)
        self._stack.append(char)
        self._is_filled.append(False)
        self._expect_next()

    def _scalar(self, char: str, *, is_key: bool) -> Steps[None]:
        if char in "\"'":
            self._source.at += 1
            yield from copy_string(self._source, char, self._write)
        elif self._quote and char == self._quote[0] and (yield from self._source.marker_here((self._quote,))):
            self._source.at += len(self._quote)
            self._write('"')
            yield from self._source.until((self._quote,), lambda text: self._write(escaped(text)))
            self._write('"')
        else:
            pieces: list[str] = []
            ends = self._key_ends if is_key else self._value_ends
            if self._closer and not self._stack:
                ends = (*ends, self._closer)
            yield from self._source.before(ends, pieces.append)
            word = "".join(pieces).strip()
            self._write(quoted(word) if is_key else scalar(word))


def copy_string(source: Source, mark: str, write: Write) -> Steps[None]:
    """A string whose opening `mark` (" or ') was read, in double quotes, closed even where the text ends."""
    search = (_IN_DOUBLE if mark == '"' else _IN_SINGLE).search
    write('"')
    while (yield from source.peek()):
        found = search(source.text, source.at)
        end = found.start() if found else len(source.text)
        if end > source.at:
            write(source.text[source.at : end])
        source.at = end
        if found:
            source.at += 1
            if found[0] == mark:
                break
            if found[0] == "\\":
                yield from _copy_escape(source, write)
            else:
                write(escaped(found[0]))
    write('"')


def read_string(source: Source, mark: str) -> Steps[str]:
    """The text of a string whose opening mark was read."""
    pieces: list[str] = []
    yield from copy_string(source, mark, pieces.append)
    text: str = json.loads("".join(pieces))
    return text.encode("utf-8", "replace").decode() if not text.isascii() else text


def _copy_escape(source: Source, write: Write) -> Steps[None]:
    """What follows a backslash. A text that ends within an escape ends before it."""
    char = yield from source.peek()
    source.at += len(char)
    if char in ("u", "x"):
        num_digits, digits = (4 if char == "u" else 2), ""
        while len(digits) < num_digits and (digit := (yield from source.peek())) in _HEX:
            source.at += 1
            digits += digit
        if len(digits) == num_digits:
            write("\\u" + digits.rjust(4, "0"))
        elif (yield from source.peek()):
            write("\\\\" + char + digits)
    elif char and char in '"\\/bfnrt':
        write("\\" + char)
    elif char == "'":
        write(char)
    elif char:
        write("\\\\" + escaped(char))


def scalar(word: str) -> str:
    """A bare word as JSON: a number, true, false or null, and a string if it is neither."""
    if word in _LITERALS:
        return _LITERALS[word]
    return word if _NUMBER.match(word) else quoted(word)


def quoted(text: str) -> str:
    """`text` as a JSON string."""
    return json.dumps(text, ensure_ascii=False)


def escaped(text: str) -> str:
    """`text` as it stands inside a JSON string."""
    return quoted(text)[1:-1]


def mended(text: str) -> tuple[str, bool]:
    """`text` as one JSON value, and whether that took all of it."""
    source = Source(text)
    source.end()
    pieces: list[str] = []
    run(JsonCopier(source, pieces.append).copy())
    return "".join(pieces), not source.text[source.at :].strip()
