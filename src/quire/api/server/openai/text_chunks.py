"""The bytes of a chat stream's plainest chunk, which nearly all are: one delta of text and nothing else."""

from __future__ import annotations

import msgspec

from quire.api.server.openai.protocol_chat import ChatChunk, ChunkChoice, Delta
from quire.api.server.openai.reply_head import ReplyHead
from quire.api.server.replies import event

_encode = msgspec.json.Encoder().encode
_PLACE = "\0"  # stands in no id, no model's name and no fingerprint


class TextChunks:
    """Writes what `event` of the whole Struct would come to, from bytes made once for each sample."""

    def __init__(self, head: ReplyHead) -> None:
        self._head = head
        self._around: dict[int, tuple[bytes, bytes]] = {}

    def write(self, index: int, text: str) -> bytes:
        around = self._around.get(index)
        if around is None:
            around = self._around[index] = self._make(index)
        return b"%b%b%b" % (around[0], _encode(text), around[1])

    def _make(self, index: int) -> tuple[bytes, bytes]:
        head = self._head
        chunk = ChatChunk(
            id=head.id,
            created=head.created,
            model=head.model,
            choices=[ChunkChoice(index, Delta(content=_PLACE), None, None)],
            system_fingerprint=head.fingerprint,
        )
        before, _, after = event(chunk).partition(_encode(_PLACE))
        return before, after
