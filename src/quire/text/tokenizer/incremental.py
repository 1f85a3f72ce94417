"""Text from tokens as they arrive: no half characters, no second look at earlier tokens."""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quire.text.tokenizer.tokenizer import Tokenizer

_utf8_decoder = codecs.getincrementaldecoder("utf-8")


class IncrementalDetokenizer:
    """One text in the making. All that `feed` and the final `flush` return, joined, is `Tokenizer.decode` of the ids.

    With `starts_text` off the tokens go on from an earlier text (a prompt), so a leading space is kept. Ids
    outside the vocabulary add nothing. At most three bytes are held back, the start of a UTF-8 character.
    `shown_ids` are special tokens that stay in the text whatever `skip_special_tokens` says.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        skip_special_tokens: bool = True,
        spaces_between_special_tokens: bool = True,
        starts_text: bool = True,
        shown_ids: frozenset[int] = frozenset(),
    ) -> None:
        self._tokenizer = tokenizer
        self._skipped_ids = tokenizer.special_ids - shown_ids if skip_special_tokens else frozenset()
        self._joins_added = not (skip_special_tokens or spaces_between_special_tokens)
        self._is_first = starts_text
        self._was_added = False
        self._strip_left = tokenizer.spelling.start_count if starts_text else 0
        self._decoder = _utf8_decoder("replace")

    def feed(self, token_ids: Iterable[int]) -> str:
        """Take the next tokens, return the text that is certain now."""
        return self._strip(self._decoder.decode(b"".join(map(self._bytes_of, token_ids))))

    def flush(self) -> str:
        """No more tokens will come: an unfinished character, if any, comes out as U+FFFD."""
        return self._strip(self._decoder.decode(b"", final=True))

    def _bytes_of(self, token_id: int) -> bytes:
        tokenizer = self._tokenizer
        if token_id in self._skipped_ids:
            return b""
        if self._joins_added:
            # vLLM's meaning of spaces_between_special_tokens=False: no space between added tokens in a row.
            follows_added, self._was_added = self._was_added, token_id in tokenizer.added_ids
            if follows_added and self._was_added:
                return tokenizer.added_ids[token_id].encode()
        if self._is_first:
            known = tokenizer.first_bytes(token_id)
            self._is_first = known is None
            return known or b""
        return tokenizer.bytes_of(token_id)

    def _strip(self, text: str) -> str:
        """Drop what the decoder drops from the start of a text: at most `start_count` times `start_char`."""
        while self._strip_left and text:
            if not text.startswith(self._tokenizer.spelling.start_char):
                self._strip_left = 0
                break
            text = text[1:]
            self._strip_left -= 1
        return text
