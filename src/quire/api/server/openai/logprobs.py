"""Spells log-probabilities for the wire: token texts, bytes, offsets."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from quire.api.server.openai.protocol_logprobs import (
    ChatLogprobs,
    CompletionLogprobs,
    ContentLogprob,
    PromptLogprob,
    PromptLogprobs,
    TopLogprob,
)
from quire.text.session import Logprob
from quire.text.tokenizer import Tokenizer

LOWEST = -9999.0  # stands for minus infinity, which JSON cannot say


class LogprobSpeller:
    """Turns positions (token id → Logprob, the token that stands there first) into a route's shape."""

    def __init__(
        self, tokenizer: Tokenizer, *, as_token_ids: bool, num_top: int, listed: Collection[int] = ()
    ) -> None:
        """Of each position `num_top` leading tokens are shown, and those of `listed`."""
        self._tokenizer = tokenizer
        self._as_token_ids = as_token_ids
        self._num_top = num_top
        self._listed = frozenset(listed)

    def chat(self, positions: Sequence[dict[int, Logprob]]) -> ChatLogprobs:
        return ChatLogprobs([self._content(position) for position in positions])

    def _content(self, position: dict[int, Logprob]) -> ContentLogprob:
        chosen = self._entry(*next(iter(position.items())))
        top = [self._entry(token_id, entry) for token_id, entry in self._top(position)]
        return ContentLogprob(chosen.token, chosen.logprob, chosen.bytes, top)

    def _entry(self, token_id: int, entry: Logprob) -> TopLogprob:
        spelled = self._tokenizer.token_bytes(token_id)
        return TopLogprob(self._text(token_id, entry), max(entry.logprob, LOWEST), spelled)

    def _top(self, position: dict[int, Logprob]) -> list[tuple[int, Logprob]]:
        """The most likely `num_top`, in falling order; then those that the request listed."""
        ranked = [item for item in position.items() if item[1].rank is not None]
        top = sorted(ranked, key=lambda item: item[1].rank or 0)[: self._num_top]
        if not self._listed:
            return top
        shown = {token_id for token_id, _ in top}
        return top + [item for item in position.items() if item[0] in self._listed and item[0] not in shown]

    def extend_completion(
        self,
        logprobs: CompletionLogprobs,
        positions: Sequence[dict[int, Logprob] | None],
        token_ids: Sequence[int],
        offset: int,
    ) -> int:
        """Append one entry per token, standing from text offset `offset` on; returns the offset after them."""
        for position, token_id in zip(positions, token_ids, strict=True):
            entry = (
                position[token_id] if position else Logprob(0.0, None, self._tokenizer.token_text(token_id))
            )
            logprobs.tokens.append(self._text(token_id, entry))
            logprobs.text_offset.append(offset)
            logprobs.token_logprobs.append(max(entry.logprob, LOWEST) if position else None)
            logprobs.top_logprobs.append(self._by_text(position) if position else None)
            offset += len(entry.decoded_token or "")
        return offset

    def _by_text(self, position: dict[int, Logprob]) -> dict[str, float]:
        """The most likely first; the token that stands there joins them where it is none of them."""
        texts: dict[str, float] = {}
        for token_id, entry in [*self._top(position), next(iter(position.items()))]:
            texts.setdefault(self._text(token_id, entry), max(entry.logprob, LOWEST))
        return texts

    def prompt(self, positions: Sequence[dict[int, Logprob] | None]) -> PromptLogprobs:
        return [None if position is None else self._by_id(position) for position in positions]

    def _by_id(self, position: dict[int, Logprob]) -> dict[int, PromptLogprob]:
        return {
            token_id: PromptLogprob(max(entry.logprob, LOWEST), entry.rank, self._text(token_id, entry))
            for token_id, entry in position.items()
        }

    def _text(self, token_id: int, entry: Logprob) -> str:
        return f"token_id:{token_id}" if self._as_token_ids else entry.decoded_token or ""
