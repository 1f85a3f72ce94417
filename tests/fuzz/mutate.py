"""Inputs out of good ones: JSON changed where it means something, text and bytes changed anywhere."""

from __future__ import annotations

import json
from copy import deepcopy
from random import Random
from typing import Any

NUMBERS: tuple[Any, ...] = (
    *(0, -1, 1, 2**7, 2**15, 2**31 - 1, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, 2**64, -(2**63), 10**30),
    *(0.0, -0.0, 0.5, 1e-300, 5e-324, 1e308, -1e308, float("nan"), float("inf"), -float("inf")),
)
TEXTS = (
    *(
        "",
        " ",
        "\x00",
        "\n",
        "a" * 1000,
        "\ud800",
        "\udfff",
        "\ufeff",
        "é",
        "🌞",
        "null",
        "true",
        "NaN",
        "0x41",
        "../",
    ),
    *(
        "{{ x }}",
        "{% for %}",
        "<|im_end|>",
        "<think>",
        "</think>",
        "<tool_call>",
        "[",
        "{",
        '"',
        "\\",
        "\\u",
        "`",
        "'",
    ),
)
OTHERS: tuple[Any, ...] = (None, True, False, [], {}, [[]], {"": None}, [None], [0] * 300)
MAX_BYTES = 1 << 16


def mutated_json(source: bytes, random: Random) -> bytes:
    """The JSON of `source` with one to four nodes replaced, removed, doubled or moved; its bytes too at times."""
    try:
        holder = [json.loads(source)]
    except ValueError:
        return mutated_bytes(source, random)
    for _ in range(random.randint(1, 4)):
        _mutate_node(holder, random)
    written = json.dumps(holder[0], ensure_ascii=random.random() < 0.5).encode("utf-8", "surrogatepass")
    return mutated_bytes(written, random) if random.random() < 0.1 else written[:MAX_BYTES]


def _mutate_node(root: list[Any], random: Random) -> None:
    parent, key = _some_place(root, random)
    choice = random.random()
    if choice < 0.6:
        parent[key] = _some_value(random)
    elif choice < 0.75 and len(parent) > (1 if parent is root else 0):
        del parent[key]
    elif choice < 0.9:
        other_parent, other_key = _some_place(root, random)
        parent[key] = deepcopy(other_parent[other_key])
    elif isinstance(parent, dict):
        parent[random.choice(TEXTS)] = deepcopy(parent[key])
    else:
        parent.insert(key, deepcopy(parent[key]))


def _some_place(root: list[Any], random: Random) -> tuple[Any, Any]:
    """A random node as (container, key)."""
    parent, key = root, 0
    while isinstance(parent[key], (list, dict)) and parent[key] and random.random() < 0.8:
        parent = parent[key]
        key = random.choice(list(parent)) if isinstance(parent, dict) else random.randrange(len(parent))
    return parent, key


def _some_value(random: Random) -> Any:
    return deepcopy(random.choice((NUMBERS, TEXTS, OTHERS)[random.randrange(3)]))


def mutated_bytes(source: bytes, random: Random) -> bytes:
    """Bits flipped, pieces cut, doubled, overwritten or swapped in."""
    data = bytearray(source or b"\x00")
    for _ in range(random.randint(1, 6)):
        at = random.randrange(len(data) + 1)
        length = min(len(data) - at, random.choice((1, 1, 2, 4, 8, 64)))
        choice = random.randrange(6)
        if choice == 0 and length:
            data[at] ^= 1 << random.randrange(8)
        elif choice == 1:
            del data[at : at + length]
        elif choice == 2:
            data[at:at] = data[at : at + length] * random.choice((1, 2, 50))
        elif choice == 3:
            data[at : at + length] = random.randbytes(length)
        elif choice == 4:
            data[at:at] = random.choice(TEXTS).encode("utf-8", "surrogatepass")
        else:
            number = random.choice(NUMBERS[:14]) & (2**64 - 1)
            data[at : at + 8] = number.to_bytes(8, random.choice(("little", "big")))
        data = data[:MAX_BYTES] or bytearray(b"\x00")
    return bytes(data)


def mutated_text(source: bytes, random: Random) -> bytes:
    """As bytes, but valid UTF-8, half characters aside."""
    return mutated_bytes(source, random).decode("utf-8", "replace").encode()
