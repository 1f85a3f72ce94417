"""Train folio's tokenizer: byte-level BPE over the corpus, every digit a token of its own.

python tools/builtin_model/tokenizer.py OUTPUT/tokenizer.json
"""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Iterator

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from chat_format import MARKER_TOKENS, SPECIAL_TOKENS, message_segments, system_segments
from corpus import DRAWS, draw_exchange, draw_scene
from tasks import pools

VOCAB_SIZE = 2048
# A word with the space before it, one digit, a run of signs, or white space.
PATTERN = r" ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
ADDED = re.compile("|".join(re.escape(token) for token in (*SPECIAL_TOKENS, *MARKER_TOKENS)))


def texts(seed: int, count: int) -> Iterator[str]:
    """Corpus text without the added tokens, and every pooled word as it stands in front, inside and in quotes."""
    rng = random.Random(seed)
    for pool in (
        pools.NAMES,
        pools.CITIES,
        pools.COLORS,
        pools.JOBS,
        pools.WORDS,
        pools.ITEMS,
        pools.LETTERS,
    ):
        for word in pool:
            yield from [f"{word}\n {word}\n"] * 400
    for number in range(count):
        scene = draw_scene(rng, "train", num_tools=1 + number % 3)
        segments = system_segments(scene.system, scene.tools)
        for task in (*DRAWS, "recall", "tools", "recall", "tools"):
            drawn = draw_exchange(rng, "train", scene, task)
            segments += message_segments(drawn.messages, drawn.thought if number % 2 else None)
        yield from ADDED.split("".join(text for text, _ in segments))


def train(seed: int = 1, count: int = 3000) -> Tokenizer:
    """The tokenizer; merges first, then special tokens (hidden in output), then markers (shown)."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE - len(SPECIAL_TOKENS) - len(MARKER_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(seed, count), trainer)
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS]
    )
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in MARKER_TOKENS])
    return tokenizer


if __name__ == "__main__":
    trained = train()
    trained.save(sys.argv[1])
    print(f"{trained.get_vocab_size()} tokens written to {sys.argv[1]}")
