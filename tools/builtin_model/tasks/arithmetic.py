"""Addition and subtraction of numbers up to three digits; differences are never negative."""

from __future__ import annotations

import random

from tasks.exchange import Exchange, exchange

ADD_PHRASES = (
    "What is {a} + {b}?",
    "{a} + {b}",
    "{a} + {b} = ?",
    "{a}+{b}",
    "What is {a}+{b}?",
    "What is {a} plus {b}?",
    "Add {a} and {b}.",
    "Calculate {a} + {b}.",
    "Compute {a} + {b}.",
    "How much is {a} + {b}?",
    "What is the sum of {a} and {b}?",
)
SUBTRACT_PHRASES = (
    "What is {a} - {b}?",
    "{a} - {b}",
    "{a} - {b} = ?",
    "{a}-{b}",
    "What is {a}-{b}?",
    "What is {a} minus {b}?",
    "Subtract {b} from {a}.",
    "Calculate {a} - {b}.",
    "Compute {a} - {b}.",
    "How much is {a} - {b}?",
    "What is the difference between {a} and {b}?",
)
PLACES = ("ones", "tens", "hundreds")


def operands(rng: random.Random, sign: str) -> tuple[int, int]:
    """Two numbers of one to three digits, longer ones more often; for a difference the larger comes first."""
    a, b = (rng.randrange(10 ** rng.choices((1, 2, 3), (1, 4, 7))[0]) for _ in range(2))
    return (max(a, b), min(a, b)) if sign == "-" else (a, b)


def key_of(a: int, b: int, sign: str) -> str:
    """One key for a pair of operands in either order."""
    return f"{sign} {min(a, b)} {max(a, b)}"


def thought_of_sum(a: int, b: int) -> str:
    """Column addition, ones first."""
    lines, carry = [], 0
    for place in range(max(len(str(a)), len(str(b)))):
        x, y = a // 10**place % 10, b // 10**place % 10
        total = x + y + carry
        lines.append(f"{PLACES[place]}: {x}+{y}+{carry}={total}, write {total % 10}, carry {total // 10}")
        carry = total // 10
    return "\n".join(lines)


def thought_of_difference(a: int, b: int) -> str:
    """Column subtraction, ones first, a >= b."""
    lines, borrow = [], 0
    for place in range(len(str(a))):
        x, y = a // 10**place % 10, b // 10**place % 10
        short = x < y + borrow
        digit = x - y - borrow + (10 if short else 0)
        lines.append(f"{PLACES[place]}: {x}-{y}-{borrow}, write {digit}, borrow {int(short)}")
        borrow = int(short)
    return "\n".join(lines)


def draw_arithmetic(rng: random.Random) -> Exchange:
    """One sum or difference; pairs with a one-digit number are always for training."""
    sign = rng.choice("+-")
    a, b = operands(rng, sign)
    phrase = rng.choice(ADD_PHRASES if sign == "+" else SUBTRACT_PHRASES)
    value = a + b if sign == "+" else a - b
    thought = thought_of_sum(a, b) if sign == "+" else thought_of_difference(a, b)
    drawn = exchange(
        "arithmetic", key_of(a, b, sign), phrase.format(a=a, b=b), f"{a} {sign} {b} = {value}", thought
    )
    drawn.split = "train" if min(a, b) < 10 else None
    return drawn
