"""A fixed table of simple facts, asked in many ways, and a little small talk.

Facts have to be memorised, so what is held out is a way of asking: the last phrase of each family is never
trained on.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from tasks.exchange import Exchange, exchange


@dataclass(frozen=True)
class Family:
    """Facts of one kind: pairs of (subject, value), ways to ask, one way to answer."""

    pairs: tuple[tuple[str, str], ...]
    phrases: tuple[str, ...]
    answer: str


def pairs(text: str) -> tuple[tuple[str, str], ...]:
    """Read "subject=value; subject=value"."""
    return tuple(
        (left.strip(), right.strip()) for left, right in (part.split("=") for part in text.split(";"))
    )


def cycle(names: str, step: int) -> tuple[tuple[str, str], ...]:
    """Pairs of each name with the one `step` places on."""
    words = names.split()
    return tuple((word, words[(place + step) % len(words)]) for place, word in enumerate(words))


DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday"
MONTHS = "January February March April May June July August September October November December"

CAPITALS = pairs(
    "France=Paris; England=London; Germany=Berlin; Spain=Madrid; Italy=Rome; Austria=Vienna; Portugal=Lisbon; "
    "Norway=Oslo; Greece=Athens; Ireland=Dublin; Japan=Tokyo; Egypt=Cairo; Poland=Warsaw; Sweden=Stockholm; "
    "Finland=Helsinki; Denmark=Copenhagen; Hungary=Budapest; Russia=Moscow; China=Beijing; Kenya=Nairobi; "
    "Cuba=Havana; Peru=Lima; Chile=Santiago; Canada=Ottawa; Turkey=Ankara; Iran=Tehran; Belgium=Brussels"
)
FAMILIES = (
    Family(
        CAPITALS,
        (
            "What is the capital of {s}?",
            "What is the capital city of {s}?",
            "Name the capital of {s}.",
            "Tell me the capital of {s}.",
            "The capital of {s}?",
            "What city is the capital of {s}?",
            "Can you tell me the capital of {s}?",
            "Which city is the capital of {s}?",
        ),
        "The capital of {s} is {v}.",
    ),
    Family(
        CAPITALS,
        (
            "{v} is the capital of which country?",
            "Which country has the capital {v}?",
            "What country has {v} as its capital?",
            "Name the country with the capital {v}.",
            "Tell me which country has the capital {v}.",
        ),
        "{v} is the capital of {s}.",
    ),
    Family(
        pairs(
            "dog=bark; cat=meow; cow=moo; sheep=baa; duck=quack; lion=roar; horse=neigh; pig=oink; wolf=howl; "
            "bee=buzz; snake=hiss; frog=croak; mouse=squeak; owl=hoot"
        ),
        (
            "What sound does a {s} make?",
            "What does a {s} say?",
            "Which sound does a {s} make?",
            "What is the sound of a {s}?",
            "Tell me the sound a {s} makes.",
            "Tell me what sound a {s} makes.",
        ),
        "A {s} says {v}.",
    ),
    Family(
        pairs(
            "grass=green; snow=white; the sky=blue; the sun=yellow; blood=red; coal=black; a lemon=yellow; "
            "a frog=green; milk=white; chocolate=brown; a carrot=orange; the sea=blue; a tomato=red; a crow=black"
        ),
        (
            "What color is {s}?",
            "What is the color of {s}?",
            "Which color is {s}?",
            "Tell me the color of {s}.",
            "What color does {s} have?",
            "Which color does {s} have?",
        ),
        "The color of {s} is {v}.",
    ),
    Family(
        pairs(
            "hot=cold; big=small; up=down; day=night; happy=sad; fast=slow; old=new; open=closed; full=empty; "
            "light=dark; rich=poor; hard=soft; high=low; wet=dry; good=bad; early=late; left=right; strong=weak; "
            "loud=quiet; clean=dirty; cold=hot; small=big; down=up; night=day; sad=happy; slow=fast; dark=light; "
            "low=high; dry=wet; bad=good; late=early; right=left; weak=strong"
        ),
        (
            "What is the opposite of {s}?",
            "Tell me the opposite of {s}.",
            "Name the opposite of {s}.",
            "The opposite of {s}?",
            "Which word is the opposite of {s}?",
            "What word is the opposite of {s}?",
        ),
        "The opposite of {s} is {v}.",
    ),
    Family(
        cycle(DAYS, 1),
        (
            "What day comes after {s}?",
            "Which day comes after {s}?",
            "What is the day after {s}?",
            "Name the day after {s}.",
            "Tell me the day after {s}.",
            "Tell me which day comes after {s}.",
        ),
        "The day after {s} is {v}.",
    ),
    Family(
        cycle(DAYS, -1),
        (
            "What day comes before {s}?",
            "Which day comes before {s}?",
            "What is the day before {s}?",
            "Name the day before {s}.",
            "Tell me the day before {s}.",
            "Tell me which day comes before {s}.",
        ),
        "The day before {s} is {v}.",
    ),
    Family(
        cycle(MONTHS, 1),
        (
            "What month comes after {s}?",
            "Which month comes after {s}?",
            "What is the month after {s}?",
            "Name the month after {s}.",
            "Tell me the month after {s}.",
            "Tell me which month comes after {s}.",
        ),
        "The month after {s} is {v}.",
    ),
    Family(
        pairs(
            "dog=puppy; cat=kitten; cow=calf; sheep=lamb; horse=foal; bear=cub; duck=duckling; goat=kid; "
            "frog=tadpole; hen=chick"
        ),
        (
            "What is a young {s} called?",
            "What do you call a young {s}?",
            "What is a baby {s} called?",
            "Name the young of a {s}.",
            "What do you call a baby {s}?",
        ),
        "A young {s} is called a {v}.",
    ),
    Family(
        pairs("dog=4; cat=4; bird=2; spider=8; ant=6; horse=4; bee=6; snake=0; duck=2; fish=0"),
        (
            "How many legs does a {s} have?",
            "How many legs has a {s}?",
            "Tell me how many legs a {s} has.",
            "What is the number of legs of a {s}?",
            "Can you tell me how many legs a {s} has?",
        ),
        "A {s} has {v} legs.",
    ),
)

SMALL_TALK = (
    (("Hello", "Hello!", "Hi", "Hi!", "Hi there!", "Good morning!", "Good evening!"), "Hello! How can I help you?"),
    (
        ("Who are you?", "What is your name?", "Tell me about yourself.", "What are you?", "Introduce yourself."),
        "I am Folio, a small language model.",
    ),
    (("Thanks", "Thank you!", "Thanks!", "Thank you very much!", "Thanks a lot!"), "You are welcome!"),
    (("Bye", "Goodbye!", "Bye!", "See you later!", "Good night!"), "Goodbye! Have a good day!"),
    (("How are you?", "How are you today?", "How do you do?"), "I am fine, thank you."),
    (
        ("What can you do?", "How can you help me?", "Help", "What do you know?"),
        "I can add and subtract, name capitals, sort lists, remember your name and tell stories.",
    ),
    (
        ("What time is it?", "Who won the game?", "What is the meaning of life?", "What is love?",
         "Who is the president?", "What is the weather today?", "Can you drive a car?"),
        "I do not know that.",
    ),
)  # fmt: skip


def draw_fact(rng: random.Random) -> Exchange:
    """One fact; a family is drawn by the number of its facts."""
    family = rng.choices(FAMILIES, [len(family.pairs) for family in FAMILIES])[0]
    subject, value = rng.choice(family.pairs)
    phrase = rng.choice(family.phrases)
    drawn = exchange(
        "facts",
        f"fact {phrase} {subject}",
        phrase.format(s=subject, v=value),
        family.answer.format(s=subject, v=value),
        "I know this fact.",
    )
    if phrase == family.phrases[-1]:
        drawn.split = "heldout"
    elif drawn.belongs_to("heldout"):
        drawn.split = "validation"
    return drawn


def draw_small_talk(rng: random.Random) -> Exchange:
    """A greeting, a thank you, a question about folio itself."""
    questions, answer = rng.choice(SMALL_TALK)
    drawn = exchange("small_talk", "", rng.choice(questions), answer, "This is an easy one.")
    drawn.split = "train"
    return drawn
