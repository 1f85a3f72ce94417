"""Small tokenizers of every common kind, trained or built on the spot, written as model folders."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

CORPUS = [
    "The quick brown fox jumps over the lazy dog. Don't stop, it's fine!",
    "Grüße aus Köln: naïve café, œuvre, Ελληνικά, Привет мир",
    "你好，世界。天気がいいですね。안녕하세요",
    "emoji 👩‍👩‍👧‍👦 🏳️‍🌈 😀😃 and math ∀x∈ℝ: x²≥0",
    "def f(x):\n    return {'a': [1, 2, 3]}\n\n\t\tindented   spaces",
] * 4
SPECIALS = ["<bos>", "<eos>", "<|im_start|>", "<｜end｜>"]
PLAIN_ADDED = ["<tool>", "<think>"]


def byte_level() -> Tokenizer:
    """GPT-2's kind: BPE over bytes spelled in printable characters."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=420, initial_alphabet=alphabet, show_progress=False)
    )
    return with_added(tokenizer)


def byte_fallback_bpe(*, strips: bool = True) -> Tokenizer:
    """Llama 2's kind: SentencePiece BPE, spaces as ▁, what is unknown as <0xNN> tokens; Gemma's without `strips`."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    trainer = trainers.BpeTrainer(vocab_size=200, show_progress=False, limit_alphabet=60)
    trained.train_from_iterator(CORPUS, trainer)
    model = json.loads(trained.to_str())["model"]
    tokens = ["<unk>", *byte_tokens(), *model["vocab"]]
    merges = [tuple(merge) for merge in model["merges"]]
    vocabulary = {token: token_id for token_id, token in enumerate(dict.fromkeys(tokens))}
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    steps = [normalizers.Prepend("▁")] if strips else []
    tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "▁")])
    last = [decoders.Strip(" ", 1, 0)] if strips else []
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *last]
    )
    return with_bos(with_added(tokenizer))


def byte_fallback_unigram() -> Tokenizer:
    """T5's and XLM's kind of model, with byte tokens for what it has not seen."""
    trained = Tokenizer(models.Unigram())
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trained.train_from_iterator(
        CORPUS, trainers.UnigramTrainer(vocab_size=150, unk_token="<unk>", show_progress=False)
    )
    pieces = [tuple(piece) for piece in json.loads(trained.to_str())["model"]["vocab"]]
    known = {piece for piece, _ in pieces}
    pieces += [(token, -20.0) for token in byte_tokens() if token not in known]
    unknown = next(place for place, (piece, _) in enumerate(pieces) if piece == "<unk>")
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=unknown, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    return with_added(tokenizer)


def word_piece() -> Tokenizer:
    """BERT's kind: ## marks what goes on a word."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.train_from_iterator(
        CORPUS, trainers.WordPieceTrainer(vocab_size=300, special_tokens=["[UNK]"], show_progress=False)
    )
    return with_added(tokenizer)


def without_decoder() -> Tokenizer:
    """Words in a list: tokens are joined by spaces."""
    words = {word: place for place, word in enumerate(["[UNK]", "the", "fox", "dog", "ran", "你", "é"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return with_added(tokenizer)


KINDS: dict[str, Callable[[], Tokenizer]] = {
    "byte_level": byte_level,
    "byte_fallback_bpe": byte_fallback_bpe,
    "byte_fallback_unstripped": lambda: byte_fallback_bpe(strips=False),
    "byte_fallback_unigram": byte_fallback_unigram,
    "word_piece": word_piece,
    "without_decoder": without_decoder,
}


def with_added(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIALS])
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in PLAIN_ADDED])
    return tokenizer


def with_bos(tokenizer: Tokenizer) -> Tokenizer:
    bos = tokenizer.token_to_id("<bos>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A $B", special_tokens=[("<bos>", bos)]
    )
    return tokenizer


def byte_tokens() -> list[str]:
    return [f"<0x{byte:02X}>" for byte in range(256)]


def save_folder(tokenizer: Tokenizer, folder: Path, **config: object) -> Path:
    """A model folder's tokenizer files."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {"bos_token": "<bos>", "eos_token": {"content": "<eos>", "lstrip": False}}
    (folder / "tokenizer_config.json").write_text(json.dumps({**named, **config}), encoding="utf-8")
    return folder
