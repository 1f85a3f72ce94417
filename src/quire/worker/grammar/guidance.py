"""Grammars through llguidance, the default: lazy, so most compile in a millisecond, and bounded at every step."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

import llguidance
from llguidance.gbnf_to_lark import any_to_lark

from quire.base.constraints import Grammar
from quire.worker.grammar.backend import Compile, GrammarRefused, Matcher, Words
from quire.worker.grammar.tags import structural_lark
from quire.worker.grammar.vocabulary import Vocabulary

# An automaton's state takes 1 to 2 kB. The library's other bounds end a step after some 20 ms at worst.
LIMITS = llguidance.LLParserLimits(max_lexer_states=25_000, verbose_errors=False)
MAX_USES = 1000  # sequences; then a grammar is compiled anew
# Between the parts of JSON: enough for any indentation. Without a bound small models write nothing else.
WHITESPACE = r"[ \t]{1,2}|\r?\n[ \t]{0,40}"


def compiler(vocabulary: Vocabulary) -> Compile:
    def compile_grammar(grammar: Grammar) -> GuidanceGrammar:
        return GuidanceGrammar(vocabulary, to_library(grammar, vocabulary))

    return compile_grammar


def json_options(grammar: Grammar) -> dict[str, Any]:
    if not grammar.any_whitespace:
        return {"whitespace_flexible": False}
    return {"whitespace_pattern": grammar.whitespace_pattern or WHITESPACE}


def to_library(grammar: Grammar, vocabulary: Vocabulary) -> str:
    """The grammar in the library's own form."""
    if grammar.kind == "json_schema":
        return llguidance.LLMatcher.grammar_from_json_schema(
            grammar.text, overrides=cast(Any, json_options(grammar))
        )
    if grammar.kind == "regex":
        return llguidance.LLMatcher.grammar_from_regex(grammar.text)
    if grammar.kind == "choice":
        lark = "start: " + " | ".join(map(json.dumps, json.loads(grammar.text)))
    elif grammar.kind == "grammar":
        try:
            lark = any_to_lark(grammar.text)
        except Exception as error:  # noqa: BLE001 - the converter raises what its regexes and indices raise
            raise GrammarRefused(f"it is neither Lark nor GBNF: {error}") from None
    else:
        lark = structural_lark(grammar.text, vocabulary, json_options(grammar))
    return llguidance.LLMatcher.grammar_from_lark(lark)


class GuidanceGrammar:
    """Matchers are copies of the one at the start, and share the automaton that each of them works out as it goes.

    So the second reply is faster than the first; and what all of them learn counts towards the limits of each.
    """

    def __init__(self, vocabulary: Vocabulary, text: str) -> None:
        self._start = llguidance.LLMatcher(vocabulary.library, text, log_level=0, limits=LIMITS)
        if self._start.is_error():
            raise GrammarRefused(self._start.get_error())
        self._num_uses = 0
        self._has_failed = False

    @property
    def is_spent(self) -> bool:
        return self._has_failed or self._num_uses >= MAX_USES

    def matcher(self) -> Matcher:
        self._num_uses += 1
        return GuidanceMatcher(self._start.deep_copy(), self._note_failure)

    def _note_failure(self) -> None:
        self._has_failed = True


class GuidanceMatcher:
    def __init__(self, library: llguidance.LLMatcher, note_failure: Callable[[], None]) -> None:
        self._library = library
        self._note_failure = note_failure

    def fill(self, words: Words) -> None:
        self._library.unsafe_compute_mask_ptr(words.ctypes.data, words.nbytes)
        if self._library.is_error():
            self._note_failure()
            raise GrammarRefused(self._library.get_error().removesuffix("<non-verbose/>").strip())

    def allows(self, token_id: int) -> bool:
        return self._library.validate_tokens([token_id]) == 1

    @property
    def may_force(self) -> bool:
        # one token alone: the next byte is certain, or the reply is complete
        return self._library.is_accepting() or bool(self._library.compute_ff_bytes())

    def accept(self, token_id: int) -> bool:
        is_taken = self._library.consume_token(token_id)
        if not is_taken:
            self._note_failure()
        return is_taken
