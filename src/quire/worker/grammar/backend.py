"""What Quire needs of a library that constrains tokens, and which libraries there are.

Masks are bits: bit t % 32 of word t // 32 is set where token t may come next.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from quire.base.constraints import Grammar, GrammarBackend
from quire.worker.grammar.vocabulary import Vocabulary

Words = NDArray[np.int32]


class GrammarRefused(Exception):
    """The library does not take this grammar; the message is for the caller who sent it."""


class Matcher(Protocol):
    """One sequence's place in a grammar."""

    def fill(self, words: Words) -> None:
        """Write which tokens may come next. Raises GrammarRefused when the grammar has become too much to follow."""
        ...

    def allows(self, token_id: int) -> bool:
        """Whether this token, which is no end, may come next."""
        ...

    @property
    def may_force(self) -> bool:
        """Whether the mask is worth making to see if it has a single token; no is always a safe answer."""
        ...

    def accept(self, token_id: int) -> bool:
        """Go on by one token; False when it was not allowed."""
        ...


class CompiledGrammar(Protocol):
    @property
    def is_spent(self) -> bool:
        """Whether it should be compiled anew for further sequences."""
        ...

    def matcher(self) -> Matcher:
        """One at the grammar's start."""
        ...


Compile = Callable[[Grammar], CompiledGrammar]
_MODULES: dict[GrammarBackend, str] = {
    "guidance": "quire.worker.grammar.guidance",
    "xgrammar": "quire.worker.grammar.through_xgrammar",
    "outlines": "quire.worker.grammar.through_outlines",
}


def open_backend(name: GrammarBackend, vocabulary: Vocabulary) -> Compile:
    """What compiles for this vocabulary; compiling raises GrammarRefused. Importing the library happens here."""
    compile_for: Callable[[Vocabulary], Compile] = import_module(_MODULES[name]).compiler
    return compile_for(vocabulary)
