"""Tokens in, characters out: against the library's full decode, over random ids and random texts."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quire.text.tokenizer import IncrementalDetokenizer
from tests.text.conftest import Pair
from tests.text.small_tokenizers import KINDS

QUICK = settings(max_examples=60, deadline=None)
BYTE_RUN = re.compile(r"<0x([0-9A-F]{2})>")


def decoded_by_library(pair: Pair, ids: list[int], *, skip_special_tokens: bool) -> str:
    return pair.backend.decode(ids, skip_special_tokens=skip_special_tokens)


def has_broken_byte_run(pair: Pair, ids: list[int], *, skip_special_tokens: bool) -> bool:
    """Whether byte tokens in a row make no UTF-8, where ours keeps the good characters and the library none."""
    run = b""
    for token_id in [*ids, None]:
        if skip_special_tokens and token_id in pair.ours.special_ids:
            continue
        match = BYTE_RUN.fullmatch(pair.ours.id_to_token(token_id) or "") if token_id is not None else None
        if match:
            run += bytes.fromhex(match[1])
            continue
        try:
            run.decode()
        except UnicodeDecodeError:
            return True
        run = b""
    return False


def fed(pair: Pair, pieces: list[list[int]], **options: bool) -> list[str]:
    detokenizer = IncrementalDetokenizer(pair.ours, **options)
    return [*map(detokenizer.feed, pieces), detokenizer.flush()]


def cut(ids: list[int], cuts: list[int]) -> list[list[int]]:
    places = sorted({0, len(ids), *(place % (len(ids) + 1) for place in cuts)})
    return [ids[start:end] for start, end in pairwise(places)]


@pytest.mark.parametrize("kind", KINDS)
@QUICK
@given(data=st.data())
def test_random_ids_make_the_text_of_full_decode(pairs, kind, data):
    pair = pairs[kind]
    ids = data.draw(st.lists(st.integers(0, pair.ours.vocab_size - 1), max_size=40))
    cuts = data.draw(st.lists(st.integers(0, 40), max_size=6))
    skip = data.draw(st.booleans())
    text = "".join(fed(pair, cut(ids, cuts), skip_special_tokens=skip))
    assert text == "".join(fed(pair, [[i] for i in ids], skip_special_tokens=skip))
    assert text == pair.ours.decode(ids, skip_special_tokens=skip)
    if not has_broken_byte_run(pair, ids, skip_special_tokens=skip):
        assert text == decoded_by_library(pair, ids, skip_special_tokens=skip)


@pytest.mark.parametrize("kind", KINDS)
@QUICK
@given(text=st.text(max_size=60))
def test_random_texts_make_the_text_of_full_decode(pairs, kind, text):
    pair = pairs[kind]
    ids = pair.ours.encode(text, add_special_tokens=False)
    joined = "".join(fed(pair, [[i] for i in ids], skip_special_tokens=False))
    assert joined == decoded_by_library(pair, ids, skip_special_tokens=False)
    if kind == "byte_level":
        assert joined == text


@pytest.mark.parametrize("kind", ["byte_level", "byte_fallback_bpe", "byte_fallback_unstripped"])
@QUICK
@given(text=st.text(alphabet=st.characters(min_codepoint=0x2000, exclude_categories=["Cs"]), max_size=20))
def test_every_piece_of_a_valid_text_is_whole_characters(pairs, kind, text):
    pair = pairs[kind]
    ids = pair.ours.encode(text, add_special_tokens=False)
    pieces = fed(pair, [[i] for i in ids])
    assert "".join(pieces).count("\ufffd") == text.count("\ufffd")
    assert pieces[-1] == ""


def test_an_unfinished_character_comes_out_at_flush(pairs):
    pair = pairs["byte_level"]
    first_bytes = [pair.ours.token_to_id(token) for token in ("ð", "Ł")]  # F0 9F: half of an emoji
    assert fed(pair, [first_bytes]) == ["", "\ufffd"]
    assert decoded_by_library(pair, first_bytes, skip_special_tokens=False) == "\ufffd"


def test_a_broken_byte_run_keeps_its_good_characters(pairs):
    pair = pairs["byte_fallback_bpe"]
    ids = [pair.ours.token_to_id(f"<0x{byte:02X}>") for byte in (*"你".encode(), 0xFF)]
    assert fed(pair, [[i] for i in ids]) == ["", "", "你", "\ufffd", ""]
    assert decoded_by_library(pair, ids, skip_special_tokens=False) == "\ufffd" * 4


def test_text_that_goes_on_keeps_its_leading_space(pairs):
    pair = pairs["byte_fallback_bpe"]
    ids = pair.ours.encode("fox", add_special_tokens=False)
    assert "".join(fed(pair, [ids])) == "fox"
    assert "".join(fed(pair, [ids], starts_text=False)) == " fox"


@pytest.mark.parametrize("token_id", [-1, 10**6, 2**31, 2**70])
def test_ids_outside_the_vocabulary_add_nothing(pairs, token_id):
    for pair in pairs.values():
        ids = pair.ours.encode("the fox", add_special_tokens=False)
        assert pair.ours.decode([token_id, *ids, token_id]) == pair.ours.decode(ids)
        assert pair.ours.token_text(token_id) == ""
        assert pair.ours.token_bytes(token_id) == []


def test_spaces_between_special_tokens_can_be_left_out(pairs):
    pair = pairs["without_decoder"]
    ids = [pair.ours.token_to_id(token) for token in ("the", "<bos>", "<tool>", "fox", "<eos>", "dog")]
    spaced, joined = (
        pair.ours.decode(ids, skip_special_tokens=False, spaces_between_special_tokens=flag)
        for flag in (True, False)
    )
    assert spaced == "the <bos> <tool> fox <eos> dog" == pair.backend.decode(ids, skip_special_tokens=False)
    assert joined == "the <bos><tool> fox <eos> dog"
    assert pair.ours.decode(ids) == "the <tool> fox dog"


def test_feeding_costs_the_same_for_every_token(pairs):
    """Held state stays bounded: three bytes of an unfinished character, whatever came before."""
    detokenizer = IncrementalDetokenizer(pairs["byte_level"].ours)
    lead = pairs["byte_level"].ours.token_to_id("ð")
    texts = [detokenizer.feed([lead]) for _ in range(1000)]
    assert texts == ["", *["\ufffd"] * 999]
