"""Token by token, our reading of a decoder is the library's: over every step and odd tokens."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders

from quire.base.errors import CheckpointError
from quire.text.tokenizer.spelling import Spelling

DECODERS = {
    "byte_level": decoders.ByteLevel(),
    "metaspace": decoders.Metaspace(),
    "metaspace_never": decoders.Metaspace(prepend_scheme="never"),
    "word_piece": decoders.WordPiece(),
    "word_piece_raw": decoders.WordPiece(prefix="@@", cleanup=False),
    "llama": decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    ),
    "nested": decoders.Sequence([decoders.Sequence([decoders.Replace("a", "bb")]), decoders.Fuse()]),
}
ODD_TOKENS = [
    *(
        "a",
        "▁a",
        "▁",
        "▁▁",
        "a▁",
        " ",
        "",
        "##b",
        "##",
        "@@c",
        "Ġx",
        "Ã",
        "Ċ",
        "é",
        "你",
        "<s>",
        "<0x41>",
        "<0x4>",
    ),
    *(".", "?", "!", ",", "'", "' ", "n't", "'m", "do not", "'s", "'ve", "'re", " .", "a 's"),
]


def spelled(decoder: decoders.Decoder, tokens: list[str]) -> str:
    spelling = Spelling(json.loads(decoder.__getstate__()))
    pieces = [spelling.token_bytes(token, is_first=place == 0) for place, token in enumerate(tokens)]
    text = b"".join(pieces).decode("utf-8", "replace")
    for _ in range(spelling.start_count):
        text = text.removeprefix(spelling.start_char)
    return text


@pytest.mark.parametrize("name", DECODERS)
@settings(max_examples=150, deadline=None)
@given(tokens=st.lists(st.sampled_from(ODD_TOKENS) | st.text(max_size=3), max_size=6))
def test_the_librarys_text_is_ours(name, tokens):
    assert spelled(DECODERS[name], tokens) == DECODERS[name].decode(tokens)


@pytest.mark.parametrize(
    "step",
    [
        {"type": "CTC", "pad_token": "", "word_delimiter_token": "|", "cleanup": True},
        {"type": "BPEDecoder", "suffix": "</w>"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        {"type": "Replace", "pattern": {"Regex": "a+"}, "content": "b"},
        {"type": "FromTheFuture"},
    ],
)
def test_a_step_that_is_not_understood_is_refused_by_name(step):
    with pytest.raises(CheckpointError, match=step["type"]):
        Spelling({"type": "Sequence", "decoders": [step]})
