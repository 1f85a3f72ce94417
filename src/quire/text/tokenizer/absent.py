"""AbsentTokenizer: what stands in for the tokenizer where there is none (--skip-tokenizer-init): ids, and no text."""

from __future__ import annotations

from quire.base.errors import Unsupported
from quire.text.tokenizer.spelling import Spelling
from quire.text.tokenizer.tokenizer import Tokenizer

WITHOUT = "this server runs without a tokenizer (--skip-tokenizer-init)"


class AbsentTokenizer(Tokenizer):
    """Every token adds nothing to a text; what would need a vocabulary is refused."""

    def __init__(self, vocab_size: int) -> None:
        self.special_tokens: dict[str, str] = {}
        self.added_ids: dict[int, str] = {}
        self.special_ids: frozenset[int] = frozenset()
        self.spelling = Spelling(None)
        self.vocab_size = vocab_size
        self.longest_token_chars = 1

    def encode(
        self,
        text: str,
        *,
        add_special_tokens: bool = True,
        keep_last_tokens: int | None = None,
        keep_first_tokens: int | None = None,
    ) -> list[int]:
        raise Unsupported(f"prompt must be token ids: {WITHOUT}", field="prompt")

    def special_ids_within(self, texts: tuple[str, ...]) -> frozenset[int]:
        return frozenset()

    def bytes_of(self, token_id: int) -> bytes:
        return b""

    def first_bytes(self, token_id: int) -> bytes | None:
        return None

    def id_to_token(self, token_id: int) -> str | None:
        return None

    def token_to_id(self, token: str) -> int | None:
        return None
