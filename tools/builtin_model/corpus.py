"""Conversations assembled from the tasks: what a training row and a held-out probe consist of.

Everything is drawn from a `random.Random`, so a seed gives the same corpus on every machine.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chat_format import THINK_REQUEST
from tasks.arithmetic import draw_arithmetic
from tasks.exchange import Exchange, Split, draw_for
from tasks.extraction import draw_extraction
from tasks.facts import draw_fact, draw_small_talk
from tasks.lists import draw_count, draw_echo, draw_reverse, draw_sort
from tasks.pools import WORDS
from tasks.recall import ASK, Person, draw_ask, draw_person, draw_system, draw_tell
from tasks.stories import draw_story
from tasks.tools import Offer, draw_offers, draw_use, draw_without_tool, schemas_of

DRAWS: dict[str, Callable[[random.Random], Exchange]] = {
    "arithmetic": draw_arithmetic,
    "facts": draw_fact,
    "small_talk": draw_small_talk,
    "echo": draw_echo,
    "reverse": draw_reverse,
    "sort": draw_sort,
    "count": draw_count,
    "extraction": draw_extraction,
    "without_tool": draw_without_tool,
    "stories": draw_story,
}
# How often each task is drawn; training scales these by how much of a task is still wrong.
WEIGHTS = {
    "arithmetic": 9.0,
    "facts": 4.0,
    "small_talk": 0.4,
    "echo": 1.0,
    "reverse": 2.5,
    "sort": 5.0,
    "count": 1.5,
    "extraction": 2.5,
    "without_tool": 0.3,
    "stories": 0.35,
    "recall": 4.0,
}
# What a training row is about, and how often.
ROW_WEIGHTS = {"plain": 0.36, "tools": 0.45, "think": 0.24, "text": 0.02, "sums": 0.08}
THOUGHTFUL_WEIGHTS = {
    "arithmetic": 8.0, "reverse": 4.0, "sort": 5.0, "count": 4.0, "facts": 1.0, "extraction": 1.0, "recall": 1.0,
    "echo": 0.5, "small_talk": 0.3, "stories": 0.2,
}  # fmt: skip
SYSTEM_PROMPTS = (
    "You are a helpful assistant.",
    "You are a helpful assistant. Answer in short sentences.",
    "You are Folio, a small language model.",
    "Be brief.",
    "Answer the question.",
    "You are kind and clear.",
    "Be brief and correct.",
)
THINK_SUFFIXES = (
    " Think step by step.",
    " Think first.",
    " Think before you answer.",
    " Let us think step by step.",
)
THINK_PREFIXES = ("Think step by step: ", "Think first: ", "Think before you answer: ")
LISTS = ("echo", "reverse", "sort", "count")


@dataclass
class Scene:
    """The fixed surroundings of one conversation: system prompt, tools, and who is talking."""

    system: str | None
    person: Person
    offers: list[Offer]
    tools: list[dict[str, Any]]


def draw_scene(rng: random.Random, split: Split, num_tools: int = 0) -> Scene:
    """A conversation's surroundings; half have no system prompt, some a long or a telling one."""
    while True:
        person = draw_person(rng)
        if Exchange("recall", person.key, []).belongs_to(split):
            break
    offers = draw_offers(rng, num_tools)
    parts = []
    if rng.random() < 0.5:
        parts.append(rng.choice(SYSTEM_PROMPTS))
        if rng.random() < 0.15:
            parts.append(" ".join(rng.choices(WORDS, k=rng.randint(5, 60))) + ".")
        if rng.random() < 0.25:
            parts += [draw_system(rng, person, kind) for kind in rng.sample(sorted(ASK), rng.randint(1, 3))]
    return Scene(" ".join(parts) or None, person, offers, schemas_of(rng, offers))


def draw_recall(rng: random.Random, person: Person) -> Exchange:
    """Tell something new or ask for something told; rarely ask what was never told."""
    kind = rng.choices(sorted(ASK), (1, 1, 2))[0]
    if kind in person.told or rng.random() < 0.1:
        return draw_ask(rng, person, kind)
    return draw_tell(rng, person, kind)


def draw_exchange(rng: random.Random, split: Split, scene: Scene, task: str) -> Exchange:
    """The next exchange of a conversation."""
    if task == "recall":
        return draw_recall(rng, scene.person)
    if task == "tools":
        return draw_for(split, lambda rng: draw_use(rng, scene.offers), rng)
    return draw_for(split, DRAWS[task], rng)


def ask_to_think(rng: random.Random, asked: Exchange) -> Exchange:
    """Add the request to think to the question: the template's marker, or plain words, rarely both."""
    question = asked.messages[0]["content"]
    roll = rng.random()
    if roll < 0.55:
        question += THINK_REQUEST
    elif roll < 0.6 and asked.task != "echo":
        question = question.rstrip(".?") + "." + rng.choice(THINK_SUFFIXES) + THINK_REQUEST
    elif roll < 0.8 and asked.task not in LISTS:
        question += rng.choice(THINK_SUFFIXES)
    elif roll < 0.8 and asked.task != "echo":
        question = question.rstrip(".?") + "." + rng.choice(THINK_SUFFIXES)
    else:
        question = rng.choice(THINK_PREFIXES) + question
    asked.messages[0] = {"role": "user", "content": question}
    return asked
