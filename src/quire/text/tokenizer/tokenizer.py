"""Tokenizer: a model folder's tokenizer.json, through the `tokenizers` library, with the spelling of every token."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quire.base.errors import CheckpointError, InvalidValue
from quire.text.tokenizer.files import read_special_tokens, read_tokenizer_config, token_content
from quire.text.tokenizer.incremental import IncrementalDetokenizer
from quire.text.tokenizer.spelling import Spelling

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend

_MAX_IDS = 2**32  # the library's ids are unsigned 32-bit integers
_OTHER_VOCABULARIES = ("tokenizer.model", "tekken.json", "vocab.json", "vocab.txt", "spiece.model")


class Tokenizer:
    """Text to ids and ids to text. Safe to use from several threads once loaded.

    `special_tokens` are the named ones (`bos_token` and so on); `special_ids` those left out of text by
    `skip_special_tokens`; `added_ids` all tokens added to the model's vocabulary, by id.
    """

    def __init__(self, backend: Backend, special_tokens: dict[str, str], config: dict[str, Any]) -> None:
        backend.no_truncation()
        backend.no_padding()
        _add_missing_tokens(backend, special_tokens, config)
        self._backend = backend
        self.special_tokens = special_tokens
        added = backend.get_added_tokens_decoder()
        self.added_ids: dict[int, str] = {token_id: token.content for token_id, token in added.items()}
        self.special_ids = frozenset(token_id for token_id, token in added.items() if token.special)
        decoder = backend.decoder
        self.spelling = Spelling(None if decoder is None else json.loads(decoder.__getstate__()))
        self._bytes: dict[int, bytes] = {}
        self._within: dict[tuple[str, ...], frozenset[int]] = {}
        self._prefix_ids, self._suffix_ids = self._forced_ends(config)

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """The tokenizer of a model folder. Raises CheckpointError when its files are missing or damaged."""
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise CheckpointError(_missing(path))
        from tokenizers import Tokenizer as Backend  # 60 ms, so only when a tokenizer is wanted

        try:
            backend = Backend.from_file(str(path))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001  (the library's panics are no Exception)
            raise CheckpointError(f"{path} is damaged ({error}); download the file again") from None
        return cls(backend, read_special_tokens(folder), read_tokenizer_config(folder))

    @property
    def bos_token_id(self) -> int | None:
        return self._named_id("bos_token")

    @property
    def eos_token_id(self) -> int | None:
        return self._named_id("eos_token")

    @cached_property
    def vocab_size(self) -> int:
        """One more than the highest id, added tokens included; ids in between may be unused."""
        return max(self._backend.get_vocab(with_added_tokens=True).values(), default=-1) + 1

    @cached_property
    def longest_token_chars(self) -> int:
        """Characters of the longest token: no token of a text covers more."""
        return max(map(len, self._backend.get_vocab(with_added_tokens=True)), default=1)

    def encode(
        self,
        text: str,
        *,
        add_special_tokens: bool = True,
        keep_last_tokens: int | None = None,
        keep_first_tokens: int | None = None,
    ) -> list[int]:
        """Ids of `text`, with the tokens the model wants around a text (BOS, EOS) if `add_special_tokens`.

        `keep_last_tokens` bounds the count: text is dropped from the left, the tokens around it stay;
        `keep_first_tokens` drops it from the right. Raises UnicodeError when `text` holds half a surrogate pair, and
        InvalidValue when the vocabulary has no token for a part of it.
        """
        if not text.isascii():
            text.encode()  # the library would call this a TypeError
        try:
            encoding = self._backend.encode(text, add_special_tokens=add_special_tokens)
        except Exception as error:  # noqa: BLE001  (the library raises plain Exception)
            raise InvalidValue(f"the tokenizer cannot encode this text: {error}", field="prompt") from None
        ids: list[int] = encoding.ids
        mask: list[int] = encoding.special_tokens_mask if add_special_tokens else [0] * len(ids)
        if add_special_tokens:
            ids = [*self._prefix_ids, *ids, *self._suffix_ids]
            mask = [*(1 for _ in self._prefix_ids), *mask, *(1 for _ in self._suffix_ids)]
        if keep_last_tokens is not None and len(ids) > keep_last_tokens:
            return _keep_last(ids, mask, keep_last_tokens)
        if keep_first_tokens is not None and len(ids) > keep_first_tokens:
            # the same, seen in a mirror
            return _keep_last(ids[::-1], mask[::-1], keep_first_tokens)[::-1]
        return ids

    def encode_pair(self, first: str, second: str, *, max_tokens: int | None = None) -> tuple[list[int], int]:
        """Ids of two texts as the model wants them together, and where the second begins for models that tell them
        apart (0 for others). Beyond `max_tokens` the second loses its end, then the first. Raises as `encode`."""
        for text in (first, second):
            text.encode()
        try:
            encoding = self._backend.encode(first, second, add_special_tokens=True)
        except Exception as error:  # noqa: BLE001  (the library raises plain Exception)
            raise InvalidValue(f"the tokenizer cannot encode these texts: {error}", field="prompt") from None
        num_around = len(self._prefix_ids) + len(self._suffix_ids)
        excess = 0 if max_tokens is None else max(0, len(encoding.ids) + num_around - max_tokens)
        owners = encoding.sequence_ids
        droppable = [place for text in (0, 1) for place, owner in enumerate(owners) if owner == text]
        dropped = set(droppable[len(droppable) - excess :]) if excess else set()
        kept = [place for place in range(len(owners)) if place not in dropped]
        types = [0 for _ in self._prefix_ids] + [encoding.type_ids[place] for place in kept]
        ids = [*self._prefix_ids, *(encoding.ids[place] for place in kept), *self._suffix_ids]
        return ids, types.index(1) if 1 in types else 0

    def beginning(self, text: str, max_tokens: int) -> str:
        """As much of `text` as its first `max_tokens` tokens cover."""
        text.encode()
        offsets = self._backend.encode(text, add_special_tokens=False).offsets
        return text if len(offsets) <= max_tokens else text[: offsets[max_tokens - 1][1]]

    def offsets(self, text: str, *, add_special_tokens: bool) -> list[tuple[int, int]]:
        """Where in `text` each of `encode`'s tokens begins and ends, in characters; (0, 0) for those around it."""
        offsets = self._backend.encode(text, add_special_tokens=add_special_tokens).offsets
        before, after = (self._prefix_ids, self._suffix_ids) if add_special_tokens else ([], [])
        return [*((0, 0) for _ in before), *offsets, *((0, 0) for _ in after)]

    def special_ids_within(self, texts: tuple[str, ...]) -> frozenset[int]:
        """The special tokens that are part of any of `texts`, remembered: such lists are few, tokens many."""
        known = self._within.get(texts)
        if known is None:
            known = self._within[texts] = frozenset(
                token_id
                for token_id in self.special_ids
                if self.added_ids[token_id] and any(self.added_ids[token_id] in text for text in texts)
            )
        return known

    def decode(
        self,
        token_ids: list[int],
        *,
        skip_special_tokens: bool = True,
        spaces_between_special_tokens: bool = True,
    ) -> str:
        """Text of `token_ids`. Ids outside the vocabulary add nothing; broken characters become U+FFFD."""
        detokenizer = IncrementalDetokenizer(
            self,
            skip_special_tokens=skip_special_tokens,
            spaces_between_special_tokens=spaces_between_special_tokens,
        )
        return detokenizer.feed(token_ids) + detokenizer.flush()

    def token_text(self, token_id: int) -> str:
        """What one token adds to a text, U+FFFD where it holds part of a character. Never raises."""
        return self.bytes_of(token_id).decode("utf-8", "replace")

    def token_bytes(self, token_id: int) -> list[int]:
        """The bytes one token adds to a text; empty for an id outside the vocabulary."""
        return list(self.bytes_of(token_id))

    def bytes_of(self, token_id: int) -> bytes:
        """The bytes a token adds inside a text, remembered after the first time."""
        known = self._bytes.get(token_id)
        if known is None:
            token = self.id_to_token(token_id)
            known = b"" if token is None else self.spelling.token_bytes(token)
            if token is not None:
                self._bytes[token_id] = known
        return known

    def first_bytes(self, token_id: int) -> bytes | None:
        """The bytes a token adds at the start of a text; None for an id outside the vocabulary."""
        token = self.id_to_token(token_id)
        return None if token is None else self.spelling.token_bytes(token, is_first=True)

    def id_to_token(self, token_id: int) -> str | None:
        """The vocabulary's entry, None for an id outside it."""
        if not 0 <= token_id < _MAX_IDS:
            return None
        token: str | None = self._backend.id_to_token(token_id)
        return token

    def token_to_id(self, token: str) -> int | None:
        """The id of a vocabulary entry, None when there is none."""
        token_id: int | None = self._backend.token_to_id(token)
        return token_id

    def _named_id(self, name: str) -> int | None:
        token = self.special_tokens.get(name)
        return None if token is None else self.token_to_id(token)

    def _forced_ends(self, config: dict[str, Any]) -> tuple[list[int], list[int]]:
        """BOS and EOS that tokenizer_config.json asks for and tokenizer.json's post-processor does not add itself."""
        around = self._backend.encode("", add_special_tokens=True).ids
        ends: list[list[int]] = []
        for wish, token_id in (("add_bos_token", self.bos_token_id), ("add_eos_token", self.eos_token_id)):
            is_missing = config.get(wish) is True and token_id is not None and token_id not in around
            ends.append([token_id] if is_missing and token_id is not None else [])
        return ends[0], ends[1]


def _add_missing_tokens(backend: Backend, special_tokens: dict[str, str], config: dict[str, Any]) -> None:
    """Added tokens that only the config files list. A named special token outside the vocabulary stays outside."""
    from tokenizers import AddedToken

    known = {token.content: token for token in backend.get_added_tokens_decoder().values()}
    listed = config.get("added_tokens_decoder")
    for _, entry in sorted(listed.items(), key=lambda item: int(item[0])) if isinstance(listed, dict) else ():
        content = token_content(entry)
        if content and content not in known:
            flags = {
                name: bool(entry.get(name, False)) for name in ("single_word", "lstrip", "rstrip", "special")
            }
            backend.add_tokens([AddedToken(content, normalized=bool(entry.get("normalized", True)), **flags)])
    named = [content for content in special_tokens.values() if backend.token_to_id(content) is not None]
    plain = [content for content in named if content not in known or not known[content].special]
    if plain:
        backend.add_special_tokens([AddedToken(content, special=True, normalized=False) for content in plain])


def _keep_last(ids: list[int], is_around: list[int], max_count: int) -> list[int]:
    """The last `max_count` ids; those the post-processor put around the text are kept before any of the text."""
    num_before = next((place for place, flag in enumerate(is_around) if not flag), len(ids))
    num_after = next((place for place, flag in enumerate(reversed(is_around)) if not flag), 0)
    num_kept = max_count - num_before - num_after
    if num_kept <= 0:
        return ids[-max_count:]
    end = len(ids) - num_after
    return ids[:num_before] + ids[end - num_kept : end] + ids[end:]


def _missing(path: Path) -> str:
    others = [name for name in _OTHER_VOCABULARIES if (path.parent / name).is_file()]
    if others:
        return (
            f"{path} is missing; the folder has {', '.join(others)}, which must be converted once: "
            "load it with transformers.AutoTokenizer and call save_pretrained on the same folder"
        )
    return f"{path} is missing; download the model's tokenizer.json into that folder"
