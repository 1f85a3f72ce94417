"""Practice outside the pools, for training only: made-up words to copy, and numbers with equal digits or zeros."""

from __future__ import annotations

import random

from tasks.arithmetic import ADD_PHRASES, SUBTRACT_PHRASES, key_of
from tasks.exchange import Exchange, exchange
from tasks.lists import ECHO_PHRASES
from tasks.pools import words

SYLLABLE_STARTS = words("b c d f g h j k l m n p r s t v w z br ch dr fl gr pl sh st th tr")
SYLLABLE_ENDS = words("a e i o u an el er in is on ar en us y ow")
NOTABLE = sorted(
    {
        *range(100, 1000, 100),
        *range(10, 100, 10),
        *range(111, 1000, 111),
        *range(11, 100, 11),
        101,
        999,
        1,
        2,
        5,
    }
)


def odd_word(rng: random.Random) -> str:
    """A word of one to three syllables that means nothing."""
    return "".join(rng.choice(SYLLABLE_STARTS) + rng.choice(SYLLABLE_ENDS) for _ in range(rng.randint(1, 3)))


def draw_odd(rng: random.Random) -> Exchange:
    """An echo of made-up words or a problem with a notable number."""
    return draw_odd_echo(rng) if rng.random() < 0.4 else draw_notable(rng)


def draw_odd_echo(rng: random.Random) -> Exchange:
    """Up to four made-up words to say again."""
    drawn = [odd_word(rng) for _ in range(rng.randint(1, 4))]
    text = " ".join(word.capitalize() if rng.random() < 0.2 else word for word in drawn)
    return exchange("odd", f"echo {text}", rng.choice(ECHO_PHRASES).format(x=text), text)


def draw_notable(rng: random.Random) -> Exchange:
    """A sum or difference with at least one round or repeating number."""
    sign = rng.choice("+-")
    a, b = rng.choice(NOTABLE), rng.choice(NOTABLE) if rng.random() < 0.4 else rng.randrange(1000)
    if (sign == "-" and a < b) or (sign == "+" and rng.random() < 0.5):
        a, b = b, a
    phrase = rng.choice(ADD_PHRASES if sign == "+" else SUBTRACT_PHRASES)
    value = a + b if sign == "+" else a - b
    drawn = exchange("odd", key_of(a, b, sign), phrase.format(a=a, b=b), f"{a} {sign} {b} = {value}")
    drawn.split = "train" if min(a, b) < 10 else None
    return drawn
