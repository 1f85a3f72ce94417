"""JSON extraction: named fields out of a sentence, in the order in which they are asked for."""

from __future__ import annotations

import json
import random

from tasks.exchange import Exchange, exchange
from tasks.pools import CITIES, ITEMS, JOBS, NAMES

PERSON_SENTENCES = (
    ("name age", "{name} is {age} years old."),
    ("name age city", "{name} is {age} years old and lives in {city}."),
    ("name age city", "{name} lives in {city} and is {age} years old."),
    ("name age city", "{name} from {city} is {age} years old."),
    ("name city", "{name} lives in {city}."),
    ("name job", "{name} works as a {job}."),
    ("name job city", "{name} works as a {job} in {city}."),
    ("name age job", "{name} is a {age} year old {job}."),
    ("name age job city", "{name}, a {job} from {city}, is {age} years old."),
)
ORDER_SENTENCES = (
    ("name quantity item", "{name} buys {quantity} {item}."),
    ("name quantity item", "{name} needs {quantity} {item}."),
    ("name quantity item price", "{name} buys {quantity} {item} for {price} dollars."),
    ("quantity item price", "I want {quantity} {item} for {price} dollars."),
)
REQUESTS = (
    "Extract {fields} as JSON: {text}",
    "Extract {fields} as JSON from this text: {text}",
    "Give me {fields} as JSON: {text}",
    "Return a JSON object with {fields}: {text}",
    "{text} Extract {fields} as JSON.",
    "{text} Give me {fields} as JSON.",
)


def listed(fields: list[str]) -> str:
    """Field names in words: "name", "name and age", "name, age and city"."""
    return fields[0] if len(fields) == 1 else ", ".join(fields[:-1]) + " and " + fields[-1]


def draw_extraction(rng: random.Random) -> Exchange:
    """One sentence about a person or an order and a request for some of its fields."""
    values: dict[str, str | int] = {
        "name": rng.choice(NAMES),
        "age": rng.randint(5, 95),
        "city": rng.choice(CITIES),
        "job": rng.choice(JOBS),
        "quantity": rng.randint(2, 60),
        "item": rng.choice(ITEMS),
        "price": rng.randint(2, 250),
    }
    known, sentence = rng.choice(PERSON_SENTENCES if rng.random() < 0.7 else ORDER_SENTENCES)
    fields = known.split()
    if rng.random() < 0.4:
        fields = rng.sample(fields, rng.randint(1, len(fields)))
    text = sentence.format(**values)
    answer = json.dumps({field: values[field] for field in fields})
    thought = "\n".join(f"{field}: {values[field]}" for field in fields)
    return exchange(
        "extraction",
        f"text {text}",
        rng.choice(REQUESTS).format(fields=listed(fields), text=text),
        answer,
        thought,
    )
