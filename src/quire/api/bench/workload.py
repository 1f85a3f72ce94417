"""What is asked: prompts of fixed or varying length, shared prefixes, conversations, files and traces."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from quire.base.errors import ConfigError

# Every vocabulary larger than a few thousand has ordinary tokens here; special ones lie at the ends.
FIRST_TOKEN_ID, LAST_TOKEN_ID = 300, 1299
WORDS = [
    "time",
    "day",
    "way",
    "man",
    "life",
    "hand",
    "part",
    "eye",
    "place",
    "work",
    "week",
    "case",
    "point",
    "water",
]
Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Turn:
    """One request. `prompt` is text, token ids, or a conversation's messages; `at_s` is when a trace has it start."""

    prompt: str | list[int] | list[Message]
    output_tokens: int
    prompt_tokens: int = 0  # 0: not known before the server tells
    at_s: float | None = None


@dataclass(frozen=True, slots=True)
class Talk:
    """Requests one after another: each waits for the reply before it. In a conversation of several turns, each
    turn's messages are only the new ones; what was said before is put in front when it is asked."""

    turns: tuple[Turn, ...]


def single(turns: Sequence[Turn]) -> list[Talk]:
    return [Talk((turn,)) for turn in turns]


@dataclass(frozen=True, slots=True)
class Lengths:
    """Of random prompts: `prefix_tokens` in common, `input_tokens` of their own, `output_tokens` wanted; both of the
    latter drawn evenly from within ± `range_ratio` of themselves."""

    input_tokens: int
    output_tokens: int
    prefix_tokens: int = 0
    range_ratio: float = 0.0

    def draw(self, chance: random.Random) -> tuple[int, int]:
        def around(length: int) -> int:
            return max(
                1,
                chance.randint(int(length * (1 - self.range_ratio)), round(length * (1 + self.range_ratio))),
            )

        return around(self.input_tokens), around(self.output_tokens)


def random_turns(count: int, lengths: Lengths, *, seed: int = 0, num_prefixes: int = 1) -> list[Turn]:
    """Prompts of random token ids; one of `num_prefixes` common beginnings each, in turn."""
    chance = random.Random(seed)
    prefixes = [token_ids(lengths.prefix_tokens, chance) for _ in range(num_prefixes)]
    turns = []
    for index in range(count):
        own, wanted = lengths.draw(chance)
        ids = prefixes[index % num_prefixes] + token_ids(own, chance)
        turns.append(Turn(ids, wanted, len(ids)))
    return turns


def token_ids(count: int, chance: random.Random) -> list[int]:
    return chance.choices(range(FIRST_TOKEN_ID, LAST_TOKEN_ID + 1), k=count)


def random_talks(count: int, num_turns: int, lengths: Lengths, *, seed: int = 0) -> list[Talk]:
    """Conversations in text of about these lengths: a system message all share, then `num_turns` questions each."""
    chance = random.Random(seed)
    system = (
        [{"role": "system", "content": words(lengths.prefix_tokens, chance)}] if lengths.prefix_tokens else []
    )
    talks = []
    for _ in range(count):
        turns = []
        for index in range(num_turns):
            own, wanted = lengths.draw(chance)
            asked = {"role": "user", "content": words(own, chance)}
            turns.append(Turn([*(system if index == 0 else []), asked], wanted))
        talks.append(Talk(tuple(turns)))
    return talks


def words(count: int, chance: random.Random) -> str:
    """Common English words, about a token each."""
    return " ".join(chance.choices(WORDS, k=count))


class _Line(msgspec.Struct):
    """One line of a file. Field names are those of the common formats; the first that is given counts."""

    prompt: str | list[int] | None = None
    messages: list[Message] | None = None
    timestamp: float | None = None  # seconds
    input_length: int | None = None
    output_tokens: int | None = None
    output_length: int | None = None

    @property
    def wanted(self) -> int | None:
        return self.output_tokens if self.output_tokens is not None else self.output_length


def file_turns(path: Path, default_output_tokens: int, *, is_trace: bool, seed: int = 0) -> list[Turn]:
    """Turns of a JSONL file: `prompt`, `messages` or (random ids) `input_length`; `output_tokens` or `output_length`;
    in a trace `timestamp`, seconds from any start. Raises ConfigError naming the line and what it lacks."""
    chance = random.Random(seed)
    turns = []
    for number, line in _lines(path):
        where = f"{path}, line {number}"
        prompt: str | list[int] | list[Message] | None = (
            line.prompt if line.prompt is not None else line.messages
        )
        if prompt is None and line.input_length:
            prompt = token_ids(line.input_length, chance)
        if not prompt:
            raise ConfigError(f"{where}: nothing to ask; give prompt, messages or input_length")
        if is_trace and line.timestamp is None:
            raise ConfigError(f"{where}: no timestamp; give seconds, or use --dataset-name custom")
        wanted = default_output_tokens if line.wanted is None else line.wanted
        if wanted < 1:
            raise ConfigError(f"{where}: {wanted} output tokens are too few; give 1 or more")
        known = len(prompt) if isinstance(prompt, list) and isinstance(prompt[0], int) else 0
        turns.append(Turn(prompt, wanted, known, line.timestamp if is_trace else None))
    if not turns:
        raise ConfigError(f"{path} holds no requests")
    return _from_zero(turns) if is_trace else turns


def _lines(path: Path) -> Iterator[tuple[int, _Line]]:
    try:
        content = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(f"--dataset-path: {path} cannot be read ({problem})") from None
    for number, text in enumerate(content.splitlines(), 1):
        if text.strip():
            try:
                yield number, msgspec.json.decode(text, type=_Line)
            except msgspec.MsgspecError as problem:
                raise ConfigError(f"{path}, line {number}: {problem}") from None


def _from_zero(turns: list[Turn]) -> list[Turn]:
    """In order of time, the first at 0."""
    ordered = sorted(turns, key=lambda turn: turn.at_s or 0.0)
    first_s = ordered[0].at_s or 0.0
    return [
        Turn(turn.prompt, turn.output_tokens, turn.prompt_tokens, (turn.at_s or 0.0) - first_s)
        for turn in ordered
    ]


def sharegpt_turns(path: Path, count: int, output_tokens: int | None, *, seed: int = 0) -> list[Turn]:
    """First question of conversations in ShareGPT's form; the answer's length in words stands for its tokens unless
    `output_tokens` is given. Raises ConfigError."""
    try:
        data = msgspec.json.decode(path.read_bytes())
        talks = [entry["conversations"] for entry in data if len(entry["conversations"]) >= 2]
        pairs = [(talk[0]["value"], talk[1]["value"]) for talk in talks]
    except (OSError, msgspec.DecodeError, KeyError, TypeError) as problem:
        raise ConfigError(f"--dataset-path: {path} is not in ShareGPT's form ({problem})") from None
    pairs = [pair for pair in pairs if pair[0].strip() and pair[1].strip()]
    random.Random(seed).shuffle(pairs)
    if not pairs:
        raise ConfigError(f"--dataset-path: {path} holds no conversation with a question and an answer")
    chosen = [pairs[index % len(pairs)] for index in range(count)]
    return [Turn(asked, output_tokens or len(answer.split())) for asked, answer in chosen]
