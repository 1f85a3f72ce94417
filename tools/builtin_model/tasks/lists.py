"""Echo, reverse, sort and count over short lists of words, letters and numbers."""

from __future__ import annotations

import random

from tasks.exchange import Exchange, exchange
from tasks.pools import LETTERS, WORDS

ECHO_PHRASES = ("Repeat: {x}", "Repeat after me: {x}", "Say: {x}", "Echo: {x}", "Say this again: {x}")
REVERSE_PHRASES = (
    "Reverse: {x}",
    "Reverse this list: {x}",
    "Reverse the order of: {x}",
    "Say this list backwards: {x}",
    "Write these in reverse order: {x}",
)
SORT_PHRASES = {
    "words": (
        "Sort these words: {x}",
        "Sort: {x}",
        "Put these words in order: {x}",
        "Sort alphabetically: {x}",
    ),
    "letters": (
        "Sort these letters: {x}",
        "Sort: {x}",
        "Put these letters in order: {x}",
        "Sort alphabetically: {x}",
    ),
    "numbers": (
        "Sort these numbers: {x}",
        "Sort: {x}",
        "Put these numbers in order: {x}",
        "Sort from low to high: {x}",
    ),
}
COUNT_PHRASES = {
    "words": ("How many words are here: {x}", "Count the words: {x}", "How many items are in this list: {x}"),
    "letters": (
        "How many letters are here: {x}",
        "Count the letters: {x}",
        "How many items are in this list: {x}",
    ),
    "numbers": (
        "How many numbers are here: {x}",
        "Count the numbers: {x}",
        "How many items are in this list: {x}",
    ),
}


def draw_items(rng: random.Random, shortest: int, longest: int) -> tuple[str, list[str]]:
    """A kind of list and its items, all different."""
    kind = rng.choices(("words", "letters", "numbers"), (5, 2, 3))[0]
    size = rng.randint(shortest, longest)
    if kind == "words":
        return kind, rng.sample(WORDS, size)
    if kind == "letters":
        return kind, rng.sample(LETTERS, size)
    return kind, [str(number) for number in rng.sample(range(1, 100), size)]


def written(rng: random.Random, kind: str, items: list[str]) -> str:
    """The list as text: commas, or only spaces (always so half of the time for letters)."""
    return (" " if rng.random() < (0.5 if kind == "letters" else 0.2) else ", ").join(items)


def punctuated(rng: random.Random, phrase: str, text: str) -> str:
    """The request, rarely closed by a full stop or a question mark."""
    return phrase.format(x=text) + (rng.choice(".?") if rng.random() < 0.15 else "")


def draw_echo(rng: random.Random) -> Exchange:
    """Say the same again, keeping the way the list is written."""
    kind, items = draw_items(rng, 1, 7)
    text = written(rng, kind, items)
    return exchange(
        "echo",
        "list " + " ".join(items),
        rng.choice(ECHO_PHRASES).format(x=text),
        text,
        "I say the same again.",
    )


def draw_reverse(rng: random.Random) -> Exchange:
    """The list backwards; the thought numbers the items and takes them from the end."""
    kind, items = draw_items(rng, 2, 6)
    text = written(rng, kind, items)
    separator = ", " if ", " in text else " "
    backwards = items[::-1]
    forth = "\n".join(f"{place} {item}" for place, item in enumerate(items, 1))
    back = "\n".join(f"{len(items) - place} {item}" for place, item in enumerate(backwards))
    return exchange(
        "reverse",
        "list " + " ".join(items),
        punctuated(rng, rng.choice(REVERSE_PHRASES), text),
        separator.join(backwards),
        f"{forth}\nFrom the end:\n{back}",
    )


def draw_sort(rng: random.Random) -> Exchange:
    """Alphabetical order for words and letters, rising order for numbers."""
    kind, items = draw_items(rng, 2, 5)
    text = written(rng, kind, items)
    separator = ", " if ", " in text else " "
    ordered = sorted(items, key=int) if kind == "numbers" else sorted(items)
    thought = "\n".join(f"next is {item}" for item in ordered)
    question = punctuated(rng, rng.choice(SORT_PHRASES[kind]), text)
    return exchange("sort", "list " + " ".join(items), question, separator.join(ordered), thought)


def draw_count(rng: random.Random) -> Exchange:
    """How many items the list has; the thought counts them aloud."""
    kind, items = draw_items(rng, 2, 8)
    text = written(rng, kind, items)
    thought = "\n".join(f"{place} {item}" for place, item in enumerate(items, 1))
    question = punctuated(rng, rng.choice(COUNT_PHRASES[kind]), text)
    return exchange("count", "list " + " ".join(items), question, str(len(items)), thought)
