"""Published vocabularies, converted by transformers: its tokenizer is the oracle."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from quire.text.tokenizer import Tokenizer
from tests.text.shared_data import FOLDER, needs_shared_data

TEXTS = [
    "Hello wörld 你好 😀👩‍👩‍👧‍👦 don't  stop\n\n x",
    "def f(a): return [1,2]\t\t# é",
    "<|endoftext|>special</s> <|user|> inside",
    "  leading and trailing  ",
]


@needs_shared_data
@pytest.mark.parametrize("name", ["phi-3", pytest.param("gpt-2", marks=pytest.mark.slow)])
def test_same_ids_and_text_as_transformers(name, tmp_path):
    transformers = pytest.importorskip("transformers", reason="transformers is the oracle here")
    pytest.importorskip("gguf", reason="transformers reads these vocabularies through gguf")
    converted = transformers.AutoTokenizer.from_pretrained(
        FOLDER / "vocab", gguf_file=f"ggml-vocab-{name}.gguf"
    )
    converted.save_pretrained(tmp_path)
    oracle = transformers.AutoTokenizer.from_pretrained(tmp_path)
    tokenizer = Tokenizer.load(Path(tmp_path))
    for text in TEXTS:
        ids, expected = tokenizer.encode(text), oracle(text, return_offsets_mapping=True)
        assert ids == expected["input_ids"]
        assert tokenizer.offsets(text, add_special_tokens=True) == expected["offset_mapping"]
        for skip in (False, True):
            assert tokenizer.decode(ids, skip_special_tokens=skip) == oracle.decode(
                ids, skip_special_tokens=skip, clean_up_tokenization_spaces=False
            )
    chance = random.Random(7)
    for _ in range(100):
        ids = [chance.randrange(tokenizer.vocab_size) for _ in range(12)]
        assert tokenizer.decode(ids) == oracle.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
