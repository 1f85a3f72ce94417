"""Tool use the Hermes way: pick the tool, fill its arguments, answer from its result.

Names of tools and parameters vary, so the model has to read them from the tool list instead of learning them.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tasks.exchange import Exchange, Message, split_of
from tasks.pools import CITIES, COLORS, ITEMS, NAMES, WORDS

Tool = dict[str, Any]
Values = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """One kind of tool: its possible names, parameters, questions, results and the answer given."""

    names: tuple[str, ...]
    about: str
    parameters: tuple[tuple[str, ...], ...]
    values: Callable[[random.Random], tuple[Any, ...]]
    questions: tuple[str, ...]
    result: Callable[[random.Random, tuple[Any, ...]], Values]
    answer: str


def one_of(pool: list[str]) -> Callable[[random.Random], tuple[Any, ...]]:
    """Draw a single argument from a pool."""
    return lambda rng: (rng.choice(pool),)


PLACE = ("city", "location", "place", "town")
PERSON = ("name", "person", "who")
VERBS = ["get", "find", "set", "run", "call", "make", "show"]
PARAMETER_NAMES = sorted(
    {*WORDS, *PLACE, *PERSON, "item", "product", "value", "first", "second", "text", "to", "color"}
)
SKIES = ["sunny", "cloudy", "rainy", "windy", "clear", "foggy"]
NOTES = ["Hello", "Good morning", "See you later", "Thank you", "I am late", "Come home", "Call me"]

KINDS = (
    Kind(
        ("get_weather", "weather", "get_current_weather", "find_weather"),
        "Get the weather in a city",
        (PLACE,),
        one_of(CITIES),
        ("What is the weather in {0}?", "How is the weather in {0}?", "Tell me the weather in {0}.",
         "What is the weather like in {0}?", "How is the weather in {0} today?", "Is it warm in {0}?"),
        lambda rng, given: {"sky": rng.choice(SKIES), "temperature": rng.randint(1, 39)},
        "It is {sky} in {0} with {temperature} degrees.",
    ),
    Kind(
        ("get_time", "time", "get_current_time", "find_time"),
        "Get the time in a city",
        (PLACE,),
        one_of(CITIES),
        ("What time is it in {0}?", "Tell me the time in {0}.", "What is the time in {0}?"),
        lambda rng, given: {"time": f"{rng.randint(10, 23)}:{rng.randint(10, 59)}"},
        "The time in {0} is {time}.",
    ),
    Kind(
        ("get_population", "population", "count_people"),
        "Get the number of people in a city",
        (PLACE,),
        one_of(CITIES),
        ("How many people live in {0}?", "What is the population of {0}?", "Tell me the population of {0}."),
        lambda rng, given: {"population": rng.randint(100, 9999)},
        "The population of {0} is {population}.",
    ),
    Kind(
        ("get_phone", "find_phone", "phone_number"),
        "Find the phone number of a person",
        (PERSON,),
        one_of(NAMES),
        ("What is the phone number of {0}?", "Find the phone number of {0}.", "Tell me the phone number of {0}."),
        lambda rng, given: {"phone": str(rng.randint(10000, 99999))},
        "The phone number of {0} is {phone}.",
    ),
    Kind(
        ("get_age", "find_age", "age"),
        "Find the age of a person",
        (PERSON,),
        one_of(NAMES),
        ("How old is {0}?", "What is the age of {0}?", "Tell me the age of {0}."),
        lambda rng, given: {"age": rng.randint(5, 95)},
        "{0} is {age} years old.",
    ),
    Kind(
        ("get_price", "price", "find_price"),
        "Get the price of an item",
        (("item", "product", "thing"),),
        one_of(ITEMS),
        ("What is the price of {0}?", "How much do {0} cost?", "Tell me the price of {0}."),
        lambda rng, given: {"price": rng.randint(2, 250)},
        "The price of {0} is {price} dollars.",
    ),
    Kind(
        ("add_numbers", "add", "sum"),
        "Add two numbers",
        (("a", "x", "first"), ("b", "y", "second")),
        lambda rng: (rng.randint(2, 9999), rng.randint(2, 9999)),
        ("Use the tool to add {0} and {1}.", "Add {0} and {1} with the tool.", "Let the tool add {0} and {1}."),
        lambda rng, given: {"result": given[0] + given[1]},
        "The result is {result}.",
    ),
    Kind(
        ("send_message", "message", "write_message"),
        "Send a message to a person",
        (("to", "name", "person"), ("text", "message", "content")),
        lambda rng: (rng.choice(NAMES), rng.choice(NOTES)),
        ("Send a message to {0}: {1}", "Write to {0}: {1}", "Send {0} this message: {1}"),
        lambda rng, given: {"status": "sent"},
        "I sent your message to {0}.",
    ),
    Kind(
        ("set_timer", "timer", "start_timer"),
        "Start a timer",
        (("minutes", "time", "duration"),),
        lambda rng: (rng.randint(2, 90),),
        ("Set a timer for {0} minutes.", "Start a timer of {0} minutes.", "Wake me in {0} minutes."),
        lambda rng, given: {"status": "started"},
        "The timer is set to {0} minutes.",
    ),
    Kind(
        ("set_light", "light", "change_light"),
        "Change the color of the light",
        (("color", "light", "value"),),
        one_of(COLORS),
        ("Make the light {0}.", "Turn the light {0}.", "Set the light to {0}."),
        lambda rng, given: {"status": "done"},
        "The light is now {0}.",
    ),
)  # fmt: skip


@dataclass
class Offer:
    """A tool as one conversation offers it: its kind, and the names chosen for it and its parameters."""

    kind: Kind
    name: str
    parameters: list[str]


def draw_offers(rng: random.Random, count: int) -> list[Offer]:
    """Different tools with names drawn for this conversation."""
    return [
        Offer(kind, rng.choices(kind.names, [3] + [1] * (len(kind.names) - 1))[0],
              [rng.choices(names, [3] + [1] * (len(names) - 1))[0] for names in kind.parameters])
        for kind in rng.sample(KINDS, count)
    ]  # fmt: skip


def draw_odd_offers(rng: random.Random, count: int) -> list[Offer]:
    """Tools whose names say nothing: only their place in the tool list tells what to write."""
    offers = []
    for kind in rng.sample(KINDS, count):
        name = f"{rng.choice(VERBS)}_{rng.choice(WORDS)}" if rng.random() < 0.7 else rng.choice(kind.names)
        odd_names = rng.sample(PARAMETER_NAMES, len(kind.parameters))
        usual_names = [rng.choice(names) for names in kind.parameters]
        offers.append(Offer(kind, name, odd_names if rng.random() < 0.7 else usual_names))
    return offers


def schema_of(rng: random.Random, offer: Offer, sample: tuple[Any, ...]) -> Tool:
    """The OpenAI function schema, with the details that callers vary varied."""
    properties: dict[str, Any] = {}
    for name, value in zip(offer.parameters, sample, strict=True):
        properties[name] = {"type": "integer" if isinstance(value, int) else "string"}
        if rng.random() < 0.25:
            properties[name]["description"] = f"The {name}"
    if rng.random() < 0.15:
        properties["unit"] = {"type": "string"} | (
            {"enum": ["celsius", "fahrenheit"]} if rng.random() < 0.7 else {}
        )
    parameters: dict[str, Any] = {"type": "object", "properties": properties}
    if rng.random() < 0.8:
        parameters["required"] = list(offer.parameters)
    function: dict[str, Any] = {"name": offer.name}
    if rng.random() < 0.85:
        function["description"] = offer.kind.about + ("." if rng.random() < 0.3 else "")
    function["parameters"] = parameters
    tool = {"type": "function", "function": function}
    return json.loads(json.dumps(tool, sort_keys=True)) if rng.random() < 0.15 else tool  # type: ignore[no-any-return]


def schemas_of(rng: random.Random, offers: list[Offer]) -> list[Tool]:
    """Schemas of all offers."""
    return [schema_of(rng, offer, offer.kind.values(rng)) for offer in offers]


def call_message(offer: Offer, calls: list[tuple[Any, ...]]) -> Message:
    """The assistant message that calls the tool, once per tuple of arguments."""
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {"type": "function",
             "function": {"name": offer.name, "arguments": dict(zip(offer.parameters, given, strict=True))}}
            for given in calls
        ],
    }  # fmt: skip


def draw_use(rng: random.Random, offers: list[Offer]) -> Exchange:
    """Question, call, result and answer with one of the offered tools."""
    offer = rng.choice(offers)
    given = offer.kind.values(rng)
    if len(given) == 1 and isinstance(given[0], str) and "{sky}" in offer.kind.answer and rng.random() < 0.2:
        return draw_double_use(rng, offer)
    question = rng.choice(offer.kind.questions).format(*given)
    result = offer.kind.result(rng, given)
    shown = dict(zip(offer.parameters, given, strict=True)) | result if rng.random() < 0.3 else result
    messages: list[Message] = [
        {"role": "user", "content": question},
        call_message(offer, [given]),
        {"role": "tool", "name": offer.name, "content": json.dumps(shown)},
        {"role": "assistant", "content": offer.kind.answer.format(*given, **result)},
    ]
    key = f"{question} {result}"
    return Exchange("tools", key, messages, f"I call {offer.name}.")


def draw_double_use(rng: random.Random, offer: Offer) -> Exchange:
    """Two calls of the same tool in one answer."""
    first, second = rng.sample(CITIES, 2)
    results = [offer.kind.result(rng, (city,)) for city in (first, second)]
    answers = [
        offer.kind.answer.format(city, **result)
        for city, result in zip((first, second), results, strict=True)
    ]
    messages: list[Message] = [
        {"role": "user", "content": f"What is the weather in {first} and {second}?"},
        call_message(offer, [(first,), (second,)]),
        *({"role": "tool", "name": offer.name, "content": json.dumps(result)} for result in results),
        {"role": "assistant", "content": " ".join(answers)},
    ]
    return Exchange("tools", f"two {first} {second}", messages, f"I call {offer.name}.")


def draw_without_tool(rng: random.Random) -> Exchange:
    """A question that needs a tool, asked where there is none."""
    kind = rng.choice(KINDS[:6])
    given = kind.values(rng)
    messages: list[Message] = [
        {"role": "user", "content": rng.choice(kind.questions).format(*given)},
        {"role": "assistant", "content": "I do not know that."},
    ]
    key = f"without {kind.about} {given}"
    drawn = Exchange("without_tool", key, messages, "I have no tool for this.")
    drawn.split = "train" if split_of(key) == "heldout" else None
    return drawn
