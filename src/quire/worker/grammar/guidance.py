"""Grammars through llguidance, the default: lazy, so most compile in a millisecond, and bounded at every step."""

from __future__ import annotations

import json
from typing import Any, cast

import llguidance
from llguidance.gbnf_to_lark import any_to_lark

from quire.base.messages import Grammar
from quire.worker.grammar.backend import Compile, GrammarRefused, Matcher, Words
from quire.worker.grammar.tags import structural_lark
from quire.worker.grammar.vocabulary import Vocabulary

# An automaton's state takes 1 to 2 kB. The library's other bounds end a step after some 20 ms at worst.
LIMITS = llguidance.LLParserLimits(max_lexer_states=25_000, verbose_errors=False)
MAX_IDLE = 8
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
    """Holds a matcher at the start to copy, and those of sequences that are over.

    A matcher works out the automaton it needs as it goes, so one that has been used is faster than a copy.
    """

    def __init__(self, vocabulary: Vocabulary, text: str) -> None:
        self._start = llguidance.LLMatcher(vocabulary.library, text, log_level=0, limits=LIMITS)
        if self._start.is_error():
            raise GrammarRefused(self._start.get_error())
        self._idle: list[GuidanceMatcher] = []

    def matcher(self) -> Matcher:
        return self._idle.pop() if self._idle else GuidanceMatcher(self._start.deep_copy())

    def give_back(self, matcher: Matcher) -> None:
        assert isinstance(matcher, GuidanceMatcher)
        if len(self._idle) < MAX_IDLE and matcher.library.reset():
            self._idle.append(matcher)


class GuidanceMatcher:
    def __init__(self, library: llguidance.LLMatcher) -> None:
        self.library = library

    def fill(self, words: Words) -> None:
        self.library.unsafe_compute_mask_ptr(words.ctypes.data, words.nbytes)
        if self.library.is_error():
            raise GrammarRefused(self.library.get_error())

    def allows(self, token_id: int) -> bool:
        return self.library.validate_tokens([token_id]) == 1

    def accept(self, token_id: int) -> bool:
        return self.library.consume_token(token_id)
