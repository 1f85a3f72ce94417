"""Loading a model folder's tokenizer, and going from text to ids and back to tokens' bytes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quire.base.errors import CheckpointError
from quire.text.tokenizer import Tokenizer, read_special_tokens
from tests.text.small_tokenizers import byte_fallback_bpe, byte_level, save_folder, with_bos, word_piece


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_folder(byte_level(), tmp_path_factory.mktemp("folder"))


def test_missing_file_is_named_with_a_remedy(tmp_path):
    with pytest.raises(CheckpointError, match=r"tokenizer\.json is missing; download"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.model").write_bytes(b"\x00")
    with pytest.raises(CheckpointError, match=r"has tokenizer\.model, which must be converted"):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize("damage", [b"", b"{", b'{"model": 1}', b"\xff\xfe\x00", b"[]"])
def test_damaged_file_is_named(tmp_path, damage):
    (tmp_path / "tokenizer.json").write_bytes(damage)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json is damaged .* download the file again"):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize("name", ["tokenizer_config.json", "special_tokens_map.json"])
@pytest.mark.parametrize("damage", [b"{", b"[1]", b"\xff", b"[" * 100_000])
def test_damaged_side_file_is_named(folder, tmp_path, name, damage):
    (tmp_path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    (tmp_path / name).write_bytes(damage)
    with pytest.raises(CheckpointError, match=name):
        Tokenizer.load(tmp_path)


def test_a_decoder_that_is_not_understood_is_refused_by_name(tmp_path):
    content = json.loads(byte_level().to_str())
    content["decoder"] = {"type": "CTC", "pad_token": "<pad>", "word_delimiter_token": "|", "cleanup": True}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="CTC"):
        Tokenizer.load(tmp_path)


def test_special_tokens_are_read_in_both_spellings(folder, tmp_path):
    assert read_special_tokens(folder) == {"bos_token": "<bos>", "eos_token": "<eos>"}
    (tmp_path / "special_tokens_map.json").write_text('{"bos_token": "<a>", "pad_token": {"content": "<p>"}}')
    (tmp_path / "tokenizer_config.json").write_text('{"bos_token": "<b>", "unk_token": null}')
    assert read_special_tokens(tmp_path) == {"bos_token": "<b>", "pad_token": "<p>"}
    tokenizer = Tokenizer.load(folder)
    assert tokenizer.bos_token_id == tokenizer.token_to_id("<bos>")
    assert tokenizer.eos_token_id == tokenizer.token_to_id("<eos>")


def test_post_processor_decides_on_bos(tmp_path):
    tokenizer = Tokenizer.load(save_folder(byte_fallback_bpe(), tmp_path, add_bos_token=True))
    bos = tokenizer.bos_token_id
    assert tokenizer.encode("fox")[0] == bos
    assert tokenizer.encode("fox").count(bos) == 1
    assert bos not in tokenizer.encode("fox", add_special_tokens=False)


def test_config_adds_bos_and_eos_that_the_post_processor_lacks(tmp_path):
    plain = Tokenizer.load(save_folder(byte_level(), tmp_path / "plain"))
    both = Tokenizer.load(
        save_folder(byte_level(), tmp_path / "both", add_bos_token=True, add_eos_token=True)
    )
    ids = plain.encode("fox")
    assert both.encode("fox") == [both.bos_token_id, *ids, both.eos_token_id]
    assert both.encode("fox", add_special_tokens=False) == ids


def test_config_lists_tokens_that_tokenizer_json_lacks(tmp_path):
    base = byte_level().get_vocab_size()
    listed = {
        str(base): {"content": "<|new|>", "special": True, "lstrip": False, "normalized": False},
        str(base + 1): {"content": "<|plain|>", "special": False},
    }
    tokenizer = Tokenizer.load(save_folder(byte_level(), tmp_path, added_tokens_decoder=listed))
    assert tokenizer.encode("a<|new|><|plain|>")[1:] == [base, base + 1]
    assert tokenizer.decode([base, base + 1]) == "<|plain|>"
    assert tokenizer.vocab_size == base + 2


def test_named_special_token_is_special_even_when_the_file_says_otherwise(tmp_path):
    tokenizer = Tokenizer.load(save_folder(byte_level(), tmp_path, bos_token="<tool>", pad_token="<nowhere>"))
    assert tokenizer.bos_token_id in tokenizer.special_ids
    assert tokenizer.token_to_id("<nowhere>") is None


def test_truncation_and_padding_of_the_file_are_off(tmp_path):
    backend = byte_level()
    backend.enable_truncation(4)
    backend.enable_padding(length=8)
    tokenizer = Tokenizer.load(save_folder(backend, tmp_path))
    assert tokenizer.decode(tokenizer.encode("The quick brown fox jumps")) == "The quick brown fox jumps"
    assert len(tokenizer.encode("a")) == 1


def test_keeping_the_last_tokens_keeps_what_surrounds_the_text(tmp_path):
    tokenizer = Tokenizer.load(save_folder(with_bos(byte_level()), tmp_path))
    text, bos = "The quick brown fox jumps over", tokenizer.bos_token_id
    ids = tokenizer.encode(text, add_special_tokens=False)
    for num_kept in (2, 3, 7):
        assert tokenizer.encode(text, keep_last_tokens=num_kept) == [bos, *ids[-(num_kept - 1) :]]
        assert tokenizer.encode(text, keep_last_tokens=num_kept, add_special_tokens=False) == ids[-num_kept:]
    assert tokenizer.encode(text, keep_last_tokens=1) == ids[-1:]
    assert tokenizer.encode(text, keep_last_tokens=100) == [bos, *ids]


def test_unused_ids_between_used_ones_are_no_end_of_the_vocabulary(tmp_path):
    content = json.loads(byte_level().to_str())
    content["added_tokens"] = []
    content["model"]["vocab"]["far"] = 9_000
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    tokenizer = Tokenizer.load(tmp_path)
    assert tokenizer.vocab_size == 9_001
    assert tokenizer.token_text(9_000) == "far"
    assert tokenizer.token_text(8_999) == ""


def test_half_a_surrogate_pair_is_a_unicode_error(byte_level):
    with pytest.raises(UnicodeError):
        byte_level.encode("a\ud83d")


@settings(max_examples=50, deadline=None)
@given(text=st.text(min_size=1, max_size=30))
def test_tokens_bytes_join_to_the_text(pairs, text):
    for kind in ("byte_level", "byte_fallback_unstripped"):
        tokenizer = pairs[kind].ours
        ids = tokenizer.encode(text, add_special_tokens=False)
        if kind == "byte_level" or "▁" not in text:
            assert bytes(byte for i in ids for byte in tokenizer.token_bytes(i)) == text.encode()


def test_token_text_never_raises_and_shows_fragments(pairs):
    for pair in pairs.values():
        for token_id in range(pair.ours.vocab_size + 2):
            text, spelled = pair.ours.token_text(token_id), bytes(pair.ours.token_bytes(token_id))
            assert text == spelled.decode("utf-8", "replace")
    tokenizer = pairs["byte_level"].ours
    assert tokenizer.token_text(tokenizer.token_to_id("ð")) == "\ufffd"
    assert tokenizer.token_bytes(tokenizer.token_to_id("ð")) == [0xF0]
    assert tokenizer.token_text(tokenizer.token_to_id("<eos>")) == "<eos>"


def test_longest_token_bounds_every_token(pairs):
    for pair in pairs.values():
        assert pair.ours.longest_token_chars == max(map(len, pair.backend.get_vocab()))


def test_word_pieces_read_as_words(tmp_path):
    tokenizer = Tokenizer.load(save_folder(word_piece(), tmp_path))
    assert tokenizer.decode(tokenizer.encode("the lazy dog. don't")) == "the lazy dog. don ' t"


def pair_tokenizer() -> Tokenizer:
    """A word-level vocabulary whose pairs stand as [CLS] a [SEP] b [SEP], the second's tokens of type 1."""
    from tokenizers import Tokenizer as Backend
    from tokenizers import models, pre_tokenizers, processors

    words = ["[UNK]", "[CLS]", "[SEP]", *"abcdefgh"]
    backend = Backend(models.WordLevel({word: number for number, word in enumerate(words)}, "[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
    )
    return Tokenizer(backend, {}, {})


def test_text_is_dropped_from_the_right_and_the_tokens_around_it_stay():
    tokenizer = pair_tokenizer()
    assert tokenizer.encode("a b c d") == [1, 3, 4, 5, 6, 2]
    assert tokenizer.encode("a b c d", keep_first_tokens=4) == [1, 3, 4, 2]
    assert tokenizer.encode("a b c d", keep_last_tokens=4) == [1, 5, 6, 2]
    assert tokenizer.encode("a b c d", keep_first_tokens=9) == [1, 3, 4, 5, 6, 2]
    assert tokenizer.encode("a b c d", keep_first_tokens=2, add_special_tokens=False) == [3, 4]


def test_a_pair_loses_the_end_of_its_second_text_first():
    tokenizer = pair_tokenizer()
    assert tokenizer.encode_pair("a b", "c d e") == ([1, 3, 4, 2, 5, 6, 7, 2], 4)
    assert tokenizer.encode_pair("a b", "c d e", max_tokens=6) == ([1, 3, 4, 2, 5, 2], 4)
    assert tokenizer.encode_pair("a b", "c d e", max_tokens=4) == ([1, 3, 2, 2], 3)


def test_the_beginning_of_a_text_is_as_much_as_its_first_tokens_cover():
    tokenizer = pair_tokenizer()
    assert tokenizer.beginning("a b  c d", 3) == "a b  c"
    assert tokenizer.beginning("a b", 3) == "a b"
