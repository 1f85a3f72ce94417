"""What the user told earlier: a name, a favorite color, a city; told in a message or in the system prompt."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tasks.exchange import Exchange, exchange
from tasks.pools import CITIES, COLORS, NAMES

TELL = {
    "name": (
        (
            "My name is {v}.",
            "I am {v}.",
            "Hello, my name is {v}.",
            "Hi, I am {v}.",
            "Hi! My name is {v}.",
            "Call me {v}.",
        ),
        "Nice to meet you, {v}!",
    ),
    "color": (
        ("My favorite color is {v}.", "I like the color {v} best.", "The color I love most is {v}."),
        "Good to know that you like {v}.",
    ),
    "city": (
        ("I live in {v}.", "I am from {v}.", "My home is in {v}.", "My city is {v}."),
        "I hear that {v} is a nice city.",
    ),
}
ASK = {
    "name": (
        (
            "What is my name?",
            "Who am I?",
            "Do you remember my name?",
            "Tell me my name.",
            "Can you say my name?",
        ),
        "Your name is {v}.",
        "I do not know your name yet.",
    ),
    "color": (
        ("What is my favorite color?", "Which color do I like best?", "Do you remember my favorite color?"),
        "Your favorite color is {v}.",
        "I do not know your favorite color yet.",
    ),
    "city": (
        ("Where do I live?", "What city do I live in?", "Do you remember where I live?", "What is my city?"),
        "You live in {v}.",
        "I do not know where you live yet.",
    ),
}
SYSTEM = {
    "name": ("The user is called {v}.", "The name of the user is {v}.", "You are talking to {v}."),
    "color": ("The favorite color of the user is {v}.", "The user likes the color {v} best."),
    "city": ("The user lives in {v}.", "The user is from {v}."),
}


@dataclass
class Person:
    """Who the user of one conversation is, and what has been told so far."""

    facts: dict[str, str]
    told: set[str]

    @property
    def key(self) -> str:
        """Names the combination; combinations, not single names, are held out."""
        return "person " + " ".join(self.facts[kind] for kind in ("name", "color", "city"))


def draw_person(rng: random.Random) -> Person:
    """Someone of whom nothing is told yet."""
    return Person({"name": rng.choice(NAMES), "color": rng.choice(COLORS), "city": rng.choice(CITIES)}, set())


def draw_tell(rng: random.Random, person: Person, kind: str) -> Exchange:
    """The user tells one thing."""
    phrases, answer = TELL[kind]
    value = person.facts[kind]
    person.told.add(kind)
    return exchange(
        "tell", person.key, rng.choice(phrases).format(v=value), answer.format(v=value), "I will remember."
    )


def draw_ask(rng: random.Random, person: Person, kind: str) -> Exchange:
    """The user asks for one thing, told or not."""
    phrases, known, unknown = ASK[kind]
    value = person.facts[kind]
    answer = known.format(v=value) if kind in person.told else unknown
    thought = f"The user told me: {value}." if kind in person.told else "The user did not tell me."
    return exchange("recall", person.key, rng.choice(phrases), answer, thought)


def draw_system(rng: random.Random, person: Person, kind: str) -> str:
    """A sentence of the system prompt that tells one thing."""
    person.told.add(kind)
    return rng.choice(SYSTEM[kind]).format(v=person.facts[kind])
