"""Small stories of roughly 100 to 300 tokens, told from interchangeable sentences."""

from __future__ import annotations

import random

from tasks.exchange import Exchange, exchange
from tasks.pools import NAMES, words

HEROES = words(
    "fox dog cat bear mouse rabbit bird horse frog wolf lion duck sheep goat tiger owl king queen farmer child"
)
TRAITS = words("little brave clever kind young old happy lonely curious quiet")
PLACES = (
    "in a dark forest", "near a blue lake", "on a high hill", "in a small town", "by the sea", "on an old farm",
    "behind a green garden", "in a house of stone", "at the end of a long road", "under a big tree",
)  # fmt: skip
TREASURES = (
    "a golden ring", "a red ball", "a silver bell", "a warm coat", "a little boat", "a bag of seeds", "an old book",
    "a bright lamp", "a sweet cake", "a wooden flute",
)  # fmt: skip
WEATHERS = ("a sunny", "a cold", "a windy", "a quiet", "a rainy", "a warm", "a bright")
TIMES = ("morning", "evening", "day", "afternoon", "night")
TROUBLES = (
    ("lost {t}", "looked everywhere but could not find it", "It was lying behind the old door"),
    ("dropped {t} into the river", "watched it swim away", "It was caught between two stones"),
    ("forgot where {t} was hidden", "dug one hole after another", "It was under the apple tree"),
    (
        "saw that {t} was gone",
        "followed the small steps in the sand",
        "A young bird had taken it to its nest",
    ),
    (
        "gave {t} to a stranger by mistake",
        "ran down the road as fast as possible",
        "The stranger was waiting at the bridge",
    ),
)
FEELINGS = ("sad", "worried", "tired", "afraid", "angry")
OFFERS = (
    '"Do not cry," said {n}. "We will look together."',
    '"I know what to do," said {n}. "Come with me."',
    '"Let me help you," said {n} with a smile.',
    '"Two can see more than one," said {n}.',
    '"Tell me what happened," said {n}, and listened well.',
)
JOURNEYS = (
    "They walked over the hill and through the tall grass.",
    "They asked the duck, the goat and the old owl.",
    "They looked under every leaf and every stone.",
    "They followed the river until the sun went down.",
    "They crossed the field and came to a small bridge.",
    "They waited until the moon was high and the wind was quiet.",
)
ENDINGS = (
    "From that day on they were the best of friends.",
    "That night they ate bread and apples and sang until late.",
    "And everyone who heard of it was glad.",
    "They never forgot that day.",
    "And they lived happily to the end of their days.",
)
LESSONS = (
    "So the {h} learned that a good friend is worth more than gold.",
    "So the {h} learned that it is wise to ask for help.",
    "So the {h} learned to look twice before giving up.",
    "So the {h} learned that small friends can do great things.",
    "So the {h} learned that every long road has an end.",
)
REQUESTS = (
    "Tell me a story about a {h}.", "Tell me a story about the {h}.", "Write a story about a {h}.",
    "Write a short story about a {h}.", "Tell a story about a {h}.", "I want to hear a story about a {h}.",
    "Can you tell me a story about a {h}?", "Tell me a short story about a {h}.",
)  # fmt: skip
OPEN_REQUESTS = (
    "Tell me a story.",
    "Write a story.",
    "Tell me a short story.",
    "I want to hear a story.",
    "Once upon a time",
)


def article(word: str) -> str:
    """The indefinite article of a word."""
    return "an" if word[0] in "aeiou" else "a"


def opening(rng: random.Random, hero: str) -> list[str]:
    """Who, where, and what the hero loved."""
    trait, place = rng.choice(TRAITS), rng.choice(PLACES)
    first = rng.choice(
        (
            f"Once upon a time there was {article(trait)} {trait} {hero} who lived {place}.",
            f"Once upon a time, {place}, there lived {article(trait)} {trait} {hero}.",
            f"Long ago {article(trait)} {trait} {hero} lived {place}.",
        )
    )
    extra = (
        f"Every {rng.choice(TIMES)} the {hero} went for a walk and sang a song.",
        f"The {hero} had many dreams but no friends.",
        f"Nobody was as {rng.choice(TRAITS)} as this {hero}.",
        f"The {hero} liked to look at the stars and to count them.",
    )
    return [first, *rng.sample(extra, rng.randint(1, 3))]


def tell(rng: random.Random, hero: str) -> str:
    """One whole story about the hero."""
    treasure, friend = rng.choice(TREASURES), rng.choice(NAMES)
    animal = rng.choice([other for other in HEROES if other != hero])
    trouble, search, solution = rng.choice(TROUBLES)
    met = rng.choice(
        (
            f"met {article(animal)} {animal} called {friend}",
            f"heard {article(animal)} {animal} whose name was {friend}",
        )
    )
    middle = [
        f"Of all things the {hero} loved {treasure} the most.",
        f"On {rng.choice(WEATHERS)} {rng.choice(TIMES)} the {hero} {trouble.format(t=treasure)}.",
        f"The {hero} {search}, and felt very {rng.choice(FEELINGS)}.",
        f"Then the {hero} {met}.",
        rng.choice(OFFERS).format(n=friend),
        *rng.sample(JOURNEYS, rng.randint(1, 4)),
        f"At last {friend} stopped and pointed. {solution}!",
        rng.choice(
            (
                f"The {hero} jumped with joy.",
                f'"Thank you, {friend}!" said the {hero}.',
                f"How happy the {hero} was!",
            )
        ),
    ]
    close = [rng.choice(LESSONS).format(h=hero)] if rng.random() < 0.6 else []
    return " ".join([*opening(rng, hero), *middle, *close, rng.choice(ENDINGS)])


def draw_story(rng: random.Random) -> Exchange:
    """A request for a story and one of its many possible answers."""
    hero = rng.choice(HEROES)
    request = rng.choice(REQUESTS).format(h=hero) if rng.random() < 0.85 else rng.choice(OPEN_REQUESTS)
    story = tell(rng, hero)
    return exchange("stories", story, request, story, f"A story about a {hero}.")
