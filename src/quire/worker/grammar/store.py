"""GrammarStore: compiled grammars by their text, within a budget of bytes, compiled in a thread."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property

from quire.base.constraints import Constraint, Grammar, GrammarBackend
from quire.worker.grammar.backend import Compile, CompiledGrammar, open_backend
from quire.worker.grammar.progress import GrammarProgress
from quire.worker.grammar.vocabulary import Vocabulary

logger = logging.getLogger(__name__)
COMPILED_BYTES = 64 * 1024  # at least, by estimate; what a grammar takes beyond it is measured


class GrammarStore:
    """`load` makes the vocabulary, on first use. One thread compiles; the step loop goes on meanwhile."""

    def __init__(self, load: Callable[[], Vocabulary], budget_bytes: int) -> None:
        self._load = load
        self._budget_bytes = budget_bytes
        self._held_bytes = 0
        self._compiled: OrderedDict[Grammar, tuple[Future[CompiledGrammar], int]] = OrderedDict()
        self._compilers: dict[GrammarBackend, Compile] = {}

    @cached_property
    def _thread(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, thread_name_prefix="grammars")

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        return self._load()

    @property
    def held_bytes(self) -> int:
        return self._held_bytes

    def prepare(self, constraint: Constraint) -> Future[CompiledGrammar]:
        """The compiled grammar, done already where it is in store; compiled by this call's thread otherwise."""
        grammar = constraint.grammar
        if grammar in self._compiled:
            self._compiled.move_to_end(grammar)
            known, num_bytes = self._compiled[grammar]
            if not _is_spent(known):
                return known
            del self._compiled[grammar]
            self._held_bytes -= num_bytes
        num_bytes = max(constraint.num_bytes, COMPILED_BYTES) + len(grammar.text)
        future = self._thread.submit(self._compile, grammar)
        self._compiled[grammar] = (future, num_bytes)
        self._held_bytes += num_bytes
        while self._held_bytes > self._budget_bytes and len(self._compiled) > 1:
            _, (_, dropped_bytes) = self._compiled.popitem(last=False)
            self._held_bytes -= dropped_bytes
        return future

    def clear(self) -> None:
        """Drop every grammar; one that is wanted again is compiled again."""
        self._compiled.clear()
        self._held_bytes = 0

    def progress(self, constraint: Constraint, output_ids: list[int]) -> GrammarProgress:
        """A sequence's place in its grammar after `output_ids`. Waits where the grammar was dropped meanwhile."""
        compiled = self.prepare(constraint).result()
        return GrammarProgress(constraint, compiled, self._vocabulary, output_ids)

    def _compile(self, grammar: Grammar) -> CompiledGrammar:
        if grammar.backend not in self._compilers:
            self._compilers[grammar.backend] = open_backend(grammar.backend, self._vocabulary)
        return self._compilers[grammar.backend](grammar)


def _is_spent(future: Future[CompiledGrammar]) -> bool:
    return future.done() and future.exception() is None and future.result().is_spent
