"""Spelling: the bytes each token stands for, read from the `decoder` of tokenizer.json.

Every decoder of the common tokenizers works token by token, except at the very start of a text. So a token's
bytes are a table, a text is their concatenation read as UTF-8, and tokens that arrive one by one need no second
look. Bytes that are no UTF-8 become U+FFFD by the Unicode rule (one per maximal ill-formed part). `tokenizers`
does the same for byte-level vocabularies; for byte-fallback ones it gives up the whole run of byte tokens, good
characters included, which no stream could follow without taking text back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from quire.base.errors import CheckpointError

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>\Z")
_Step = Callable[[str], str]


class Spelling:
    """How tokens are spelled, inside a text and at its start.

    A text loses up to `start_count` times `start_char` from its start once its tokens are joined.
    """

    def __init__(self, decoder: dict[str, Any] | None) -> None:
        """`decoder` is that section of tokenizer.json. Raises CheckpointError for a step that is not understood."""
        self._inside: list[_Step] = []
        self._at_start: list[_Step] = []
        self._is_byte_level = False
        self._has_byte_tokens = False
        self._is_fused = False
        self.start_char = ""
        self.start_count = 0
        if decoder is None:
            self._add(lambda token: " " + token, lambda token: token)
        else:
            for step in _flatten(decoder):
                self._read(step)

    def token_bytes(self, token: str, *, is_first: bool = False) -> bytes:
        """The bytes `token` adds to a text, when it is its first token or not."""
        if self._has_byte_tokens and (match := _BYTE_TOKEN.match(token)):
            return bytes.fromhex(match[1])
        for step in self._at_start if is_first else self._inside:
            token = step(token)
        if self._is_byte_level:
            return _byte_level_bytes(token)
        return token.encode("utf-8", "replace")

    def _add(self, inside: _Step, at_start: _Step | None = None) -> None:
        self._inside.append(inside)
        self._at_start.append(at_start or inside)

    def _read(self, step: dict[str, Any]) -> None:
        kind = step.get("type")
        if kind == "ByteLevel":
            self._is_byte_level = True
        elif kind == "ByteFallback":
            self._has_byte_tokens = True
        elif kind == "Fuse":
            self._is_fused = True
        elif kind == "Replace" and "String" in step["pattern"]:
            old, new = step["pattern"]["String"], step["content"]
            self._add(lambda token: token.replace(old, new))
        elif kind == "Metaspace":
            self._read_metaspace(step)
        elif kind == "WordPiece":
            self._read_word_piece(step)
        elif kind == "Strip" and self._is_fused and not step["stop"]:
            self.start_char, self.start_count = step["content"], step["start"]
        else:
            raise CheckpointError(
                f"tokenizer.json: decoder step {json.dumps(step)[:200]} is not understood; "
                "known are ByteLevel, ByteFallback, Fuse, Replace (of a string), Metaspace, WordPiece and Strip"
            )

    def _read_metaspace(self, step: dict[str, Any]) -> None:
        mark = step["replacement"]
        drops_first = step.get("prepend_scheme", "always") != "never"
        self._add(
            lambda token: token.replace(mark, " "),
            lambda token: token.replace(mark, "" if drops_first else " "),
        )

    def _read_word_piece(self, step: dict[str, Any]) -> None:
        prefix = step["prefix"]
        self._add(
            lambda token: token.removeprefix(prefix) if token.startswith(prefix) else " " + token,
            lambda token: token,
        )
        if step["cleanup"]:
            self._add(_clean_up)


def _flatten(decoder: dict[str, Any]) -> list[dict[str, Any]]:
    if decoder.get("type") == "Sequence":
        return [step for inner in decoder["decoders"] for step in _flatten(inner)]
    return [decoder]


def _clean_up(token: str) -> str:
    """What the WordPiece decoder does to spaces around English punctuation, token by token."""
    for old, new in (
        (" .", "."),
        (" ?", "?"),
        (" !", "!"),
        (" ,", ","),
        (" ' ", "'"),
        (" n't", "n't"),
        (" 'm", "'m"),
        (" do not", " don't"),
        (" 's", "'s"),
        (" 've", "'ve"),
        (" 're", "'re"),
    ):
        token = token.replace(old, new)
    return token


def _byte_level_alphabet() -> dict[str, int]:
    """GPT-2's printable stand-ins for bytes: printable Latin-1 stands for itself, the rest from U+0100 upwards."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {
        chr(256 + place): byte for place, byte in enumerate(others)
    }


_BYTE_OF_CHAR = _byte_level_alphabet()


def _byte_level_bytes(token: str) -> bytes:
    """A token outside the alphabet (an added one, as a rule) stands for its own text."""
    try:
        return bytes(map(_BYTE_OF_CHAR.__getitem__, token))
    except KeyError:
        return token.encode("utf-8", "replace")
