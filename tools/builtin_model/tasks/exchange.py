"""An exchange: one question with its answer, and the rule that keeps the splits apart.

Every exchange has a key that names its content (operands, list items, a combination of names). A checksum of
the key alone decides whether it may be trained on, so no example of the held-out set is ever seen in training.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Message = dict[str, Any]
Split = str

NUM_BUCKETS = 50
SPLIT_OF_BUCKET = {0: "heldout", 1: "validation"}


def split_of(key: str) -> Split:
    """Which split content named `key` belongs to: one fiftieth each to held-out and validation."""
    return SPLIT_OF_BUCKET.get(zlib.crc32(key.encode()) % NUM_BUCKETS, "train")


@dataclass
class Exchange:
    """Messages from one user turn to the final answer; `thought` is what <think> would hold if asked for."""

    task: str
    key: str
    messages: list[Message]
    thought: str | None = None
    split: Split | None = None
    tools: list[dict[str, Any]] = field(default_factory=list)

    def belongs_to(self, split: Split) -> bool:
        """Whether this exchange may be used for `split`."""
        return (self.split or split_of(self.key)) == split


Draw = Callable[[random.Random], Exchange]


def exchange(task: str, key: str, question: str, answer: str, thought: str | None = None) -> Exchange:
    """The ordinary case: one user message, one answer."""
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return Exchange(task, key, messages, thought)


def draw_for(split: Split, draw: Draw, rng: random.Random) -> Exchange:
    """Draw until the exchange belongs to the split; LookupError where the draw seems to have none."""
    for _ in range(3000):
        candidate = draw(rng)
        if candidate.belongs_to(split):
            return candidate
    raise LookupError(f"{draw.__name__} offers no content for the split {split!r}")
