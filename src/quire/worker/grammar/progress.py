"""GrammarProgress: where one sequence stands, in its reasoning or in its grammar."""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum, auto

import numpy as np

from quire.base.constraints import CANNOT_FOLLOW, Constraint
from quire.base.errors import EngineFault
from quire.worker.grammar.backend import CompiledGrammar, GrammarRefused, Words
from quire.worker.grammar.vocabulary import Vocabulary


class _Phase(Enum):
    START = auto()  # the next token decides whether the reply begins with reasoning
    REASONING = auto()  # free, but what would end the reply ends the reasoning: the answer is still to come
    GAP = auto()  # after reasoning: one token of line ends may come before the answer, as models learnt it
    ANSWER = auto()


class GrammarProgress:
    """Grows by `accept`. Rebuilt from the outputs so far, it stands where the one before it stood."""

    def __init__(
        self,
        constraint: Constraint,
        compiled: CompiledGrammar,
        vocabulary: Vocabulary,
        output_ids: list[int],
    ) -> None:
        self._constraint = constraint
        self._matcher = compiled.matcher()
        self._vocabulary = vocabulary
        self._ends = [end.encode() for end in constraint.reasoning_ends]
        self._tail = b""
        self._words: Words = np.zeros(vocabulary.num_words, dtype=np.int32)
        self._is_filled = False
        self._failure = ""
        self._phase = _Phase.ANSWER
        if constraint.starts_in_reasoning:
            self._phase = _Phase.REASONING
        elif constraint.reasoning_begin_ids:
            self._phase = _Phase.START
        for token_id in output_ids:
            self.accept(token_id)

    @property
    def end_ids(self) -> list[int]:
        """The tokens that end a reply."""
        return self._vocabulary.end_ids

    @property
    def instead_of_end(self) -> int | None:
        """The token that ends the reasoning now under way, where there is one of its own."""
        if self._phase is not _Phase.REASONING:
            return None
        known = self._vocabulary.special_ids
        return next((known[end] for end in self._constraint.reasoning_ends if end in known), None)

    def mask(self) -> Words:
        """The tokens that may come next, as bits; valid until the next `accept`. Raises EngineFault."""
        if self._failure:
            raise EngineFault(self._failure)
        if not self._is_filled and self._phase is _Phase.REASONING:
            self._allow_all_but_ends()
        if not self._is_filled:
            try:
                self._matcher.fill(self._words)
            except GrammarRefused as error:
                raise EngineFault(f"{CANNOT_FOLLOW}: {error}") from None
            self._is_filled = True
            self._let_end()
            for token_id in self._also_allowed():
                self._set(token_id)
        return self._words

    def allows(self, token_id: int) -> bool:
        """Whether `mask` has this token, without making the mask."""
        if self._failure:
            return False
        is_end = token_id in self._vocabulary.end_ids
        if self._phase is _Phase.REASONING:
            return not is_end
        if self._is_filled or is_end:
            return self._is_set(token_id)
        return self._matcher.allows(token_id) or token_id in self._also_allowed()

    @property
    def must_end(self) -> bool:
        """Whether nothing but an end may come next."""
        if self._phase is _Phase.REASONING:
            return False
        others = self.mask().copy()
        for token_id in self._vocabulary.end_ids:
            others.view(np.uint32)[token_id >> 5] &= ~np.uint32(1 << (token_id & 31))
        return not others.any()

    def only_token(self) -> int | None:
        """The token that must come next, where there is one: whatever the model says, it would be chosen."""
        if (
            self._failure
            or self._phase is _Phase.REASONING
            or not (self._is_filled or self._matcher.may_force)
        ):
            return None
        try:
            words = self.mask()
        except EngineFault:
            return None  # the row learns of it when it is sampled
        (places,) = words.nonzero()
        if places.size != 1:
            return None
        word = int(words.view(np.uint32)[places[0]])
        return None if word & (word - 1) else 32 * int(places[0]) + word.bit_length() - 1

    def is_end(self, token_id: int) -> bool:
        return token_id in self._vocabulary.end_ids

    def accept(self, token_id: int) -> None:
        """The sequence has grown by this token."""
        self._is_filled = False
        if self._phase is _Phase.REASONING:
            self._read_reasoning(token_id)
        elif self._phase is not _Phase.ANSWER and token_id in self._also_allowed():
            self._phase = _Phase.REASONING if self._phase is _Phase.START else _Phase.ANSWER
        else:
            self._phase = _Phase.ANSWER
            if not self._failure and not self._matcher.accept(token_id):
                self._failure = (
                    f"{CANNOT_FOLLOW}: token {token_id} is not allowed by it, or it is too complex"
                )

    def _read_reasoning(self, token_id: int) -> None:
        longest = max(map(len, self._ends), default=0)
        self._tail += self._vocabulary.bytes_of(token_id)
        if any(end in self._tail for end in self._ends):
            self._phase, self._tail = _Phase.GAP, b""
        else:
            self._tail = self._tail[-longest:]

    def _also_allowed(self) -> Collection[int]:
        """Tokens that may come next beside those of the grammar, and are no part of it."""
        if self._phase is _Phase.START:
            return self._constraint.reasoning_begin_ids
        return self._vocabulary.line_end_ids if self._phase is _Phase.GAP else ()

    def _allow_all_but_ends(self) -> None:
        self._words.fill(-1)
        for token_id in self._vocabulary.end_ids:
            self._words.view(np.uint32)[token_id >> 5] &= ~np.uint32(1 << (token_id & 31))
        self._is_filled = True

    def _let_end(self) -> None:
        """A library may know one end of a reply; where it allows that, all are."""
        ends = self._vocabulary.end_ids
        if len(ends) > 1 and any(self._is_set(token_id) for token_id in ends):
            for token_id in ends:
                self._set(token_id)

    def _is_set(self, token_id: int) -> bool:
        return bool(self.mask()[token_id >> 5] >> (token_id & 31) & 1)

    def _set(self, token_id: int) -> None:
        self._words.view(np.uint32)[token_id >> 5] |= np.uint32(1 << (token_id & 31))
