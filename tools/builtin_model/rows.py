"""Training rows: conversations of exactly the wanted number of tokens, with the learned tokens marked.

A row is one conversation from its first token, so positions and context are those of serving; it is cut where
the row ends, and only some rows that end in reasoning are padded.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from chat_format import PADDING, Segment, message_segments, system_segments
from corpus import (
    ROW_WEIGHTS,
    THOUGHTFUL_WEIGHTS,
    Scene,
    ask_to_think,
    draw_exchange,
    draw_scene,
)
from tasks.arithmetic import draw_arithmetic
from tasks.exchange import Split, draw_for
from tasks.odd import draw_odd, odd_word
from tasks.stories import HEROES, tell
from tasks.tools import draw_odd_offers, draw_use, schemas_of

Tokens = tuple[list[int], list[bool]]
# How much of a conversation is practice outside the pools.
ODD_SHARE = 0.08


def drawn_key(rng: random.Random, weights: Mapping[str, float]) -> str:
    """A key drawn in proportion to its weight."""
    return rng.choices(list(weights), list(weights.values()))[0]


class RowMaker:
    """Draws rows for one split; `weights` and `row_weights` may be changed between rows."""

    def __init__(
        self, tokenizer: Tokenizer, seed: int, weights: Mapping[str, float], split: Split = "train"
    ) -> None:
        self.tokenizer = tokenizer
        self.rng = random.Random(seed)
        self.weights = dict(weights)
        self.row_weights = dict(ROW_WEIGHTS)
        self.split = split
        self.padding_id = tokenizer.token_to_id(PADDING)

    def row(self, length: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Token ids [length + 1] and whether each is learned [length + 1]."""
        kind = drawn_key(self.rng, self.row_weights)
        if kind == "tools" and length < 300:
            kind = "plain"
        if kind == "sums" and length > 500:
            kind = "plain"
        make = {
            "plain": self._plain,
            "tools": self._tools,
            "think": self._think,
            "text": self._text,
            "sums": self._sums,
        }[kind]
        ids, learned = make(length + 1)
        missing = max(0, length + 1 - len(ids))
        ids, learned = ids + [self.padding_id] * missing, learned + [False] * missing
        return np.array(ids[: length + 1], dtype=np.int64), np.array(learned[: length + 1])

    def encode(self, segments: list[Segment]) -> Tokens:
        """Segments as one token stream with its marks."""
        ids: list[int] = []
        learned: list[bool] = []
        for encoding, (_, is_learned) in zip(
            self.tokenizer.encode_batch_fast([text for text, _ in segments]), segments, strict=True
        ):
            ids += encoding.ids
            learned += [is_learned] * len(encoding.ids)
        return ids, learned

    def _next(self, scene: Scene) -> Tokens:
        """The next exchange of a conversation; where there are tools, most often a use of one."""
        if scene.tools and self.rng.random() < 0.7:
            task = "tools"
        else:
            task = drawn_key(self.rng, self.weights)
            if scene.tools and task == "without_tool":
                task = "tools"
        if self.rng.random() < ODD_SHARE:
            drawn = draw_for(self.split, draw_odd, self.rng)
        else:
            drawn = draw_exchange(self.rng, self.split, scene, task)
        return self.encode(message_segments(drawn.messages))

    def _scene(self, num_tools: int = 0) -> Scene:
        """A scene of the split; sometimes the user's name or city is a made-up one."""
        scene = draw_scene(self.rng, self.split, num_tools)
        for kind in ("name", "city"):
            if kind not in scene.person.told and self.rng.random() < 0.15:
                scene.person.facts[kind] = odd_word(self.rng).capitalize()
        return scene

    def _conversation(self, room: int, scene: Scene, whole: bool) -> Tokens:
        """Exchanges until `room` tokens are filled; `whole` leaves out the one that would not fit."""
        ids, learned = self.encode(system_segments(scene.system, scene.tools))
        if whole and len(ids) > room:
            return [], []
        while len(ids) < room:
            more_ids, more_learned = self._next(scene)
            if whole and len(ids) + len(more_ids) > room:
                break
            ids, learned = ids + more_ids, learned + more_learned
        return ids, learned

    def _plain(self, room: int) -> Tokens:
        return self._conversation(room, self._scene(), whole=False)

    def _tools(self, room: int) -> Tokens:
        if self.rng.random() < 0.65:
            return self._calls(room)
        return self._conversation(room, self._scene(self.rng.randint(1, 3)), whole=False)

    def _calls(self, room: int) -> Tokens:
        """Every offered tool called once, most often without its result: each call has to be read from the list."""
        scene = draw_scene(self.rng, self.split)
        scene.offers = draw_odd_offers(self.rng, self.rng.choices((1, 2, 3, 4), (1, 4, 3, 1))[0])
        scene.tools = schemas_of(self.rng, scene.offers)
        ids, learned = self.encode(system_segments(scene.system, scene.tools))
        for offer in self.rng.sample(scene.offers, len(scene.offers)):
            drawn = draw_use(self.rng, [offer])
            if not drawn.belongs_to(self.split):
                continue
            messages = drawn.messages[: 2 if self.rng.random() < 0.7 else None]
            more_ids, more_learned = self.encode(message_segments(messages))
            ids, learned = ids + more_ids, learned + more_learned
        more_ids, more_learned = self._conversation(
            max(0, room - len(ids)), Scene(None, scene.person, [], []), whole=False
        )
        return ids + more_ids, learned + more_learned

    def _think(self, room: int) -> Tokens:
        """A conversation whose last question asks for thinking; a tool call ends it before the result."""
        if self.rng.random() < 0.6:
            return self._practice(room)
        with_tools = room > 300 and self.rng.random() < 0.2
        scene = draw_scene(self.rng, self.split, self.rng.randint(1, 3) if with_tools else 0)
        task = "tools" if with_tools else drawn_key(self.rng, THOUGHTFUL_WEIGHTS)
        last = ask_to_think(self.rng, draw_exchange(self.rng, self.split, scene, task))
        ending = self.encode(message_segments(last.messages[:2], last.thought))
        rest = self.rng.choice((0, room)) if room < 200 else room
        ids, learned = self._conversation(max(0, min(rest, room - len(ending[0]))), scene, whole=True)
        return ids + ending[0], learned + ending[1]

    def _practice(self, room: int) -> Tokens:
        """Questions with and without reasoning side by side.

        When served, earlier reasoning is no longer in the conversation; leaving it in makes far denser rows.
        """
        scene = draw_scene(self.rng, self.split)
        ids, learned = self.encode(system_segments(scene.system, []))
        while len(ids) < room:
            drawn = draw_exchange(self.rng, self.split, scene, drawn_key(self.rng, THOUGHTFUL_WEIGHTS))
            thinks = self.rng.random() < 0.7
            if thinks:
                drawn = ask_to_think(self.rng, drawn)
            more_ids, more_learned = self.encode(
                message_segments(drawn.messages, drawn.thought if thinks else None)
            )
            ids, learned = ids + more_ids, learned + more_learned
        return ids, learned

    def _text(self, room: int) -> Tokens:
        """Stories without chat around them, for plain completion."""
        ids: list[int] = []
        while len(ids) < room:
            ids += self.encode([(tell(self.rng, self.rng.choice(HEROES)) + PADDING, True)])[0]
        return ids, [True] * len(ids)

    def _sums(self, room: int) -> Tokens:
        """Bare lines of arithmetic, the densest practice there is; only the results are learned."""
        segments: list[Segment] = []
        for _ in range(1 + room // 8):
            problem, value = (
                draw_for(self.split, draw_arithmetic, self.rng).messages[1]["content"].split("= ")
            )
            segments += [(problem + "= ", False), (value + "\n", True)]
        return self.encode(segments)
