"""The short way to a chunk's bytes and the long one come to the same."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from quire.api.server.openai.protocol_chat import ChatChunk, ChunkChoice, Delta
from quire.api.server.openai.reply_head import ReplyHead
from quire.api.server.openai.text_chunks import TextChunks
from quire.api.server.replies import event

HEAD = ReplyHead("chatcmpl-1", 17, 'a "model"/ü', "quire-0")


@given(st.text(min_size=1), st.integers(0, 9))
def test_the_bytes_are_those_of_the_struct(text, index):
    chunk = ChatChunk(
        id=HEAD.id,
        created=HEAD.created,
        model=HEAD.model,
        choices=[ChunkChoice(index, Delta(content=text), None, None)],
        system_fingerprint=HEAD.fingerprint,
    )
    chunks = TextChunks(HEAD)
    assert chunks.write(index, text) == chunks.write(index, text) == event(chunk)
