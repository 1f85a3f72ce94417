"""Grammars through outlines-core, an extra: an index of every state and token, made before the first one is drawn."""

from __future__ import annotations

import json
import re
from typing import Any

import outlines_core
from outlines_core.json_schema import build_regex_from_schema

from quire.base.constraints import Grammar
from quire.worker.grammar.backend import Compile, GrammarRefused, Matcher, Words
from quire.worker.grammar.vocabulary import Vocabulary

COMPACT = ""
WHITESPACE = r"[\n ]{0,40}"


def compiler(vocabulary: Vocabulary) -> Compile:
    ends = set(vocabulary.end_ids)
    ids: dict[bytes, list[int]] = {}
    for token_id, spelling in enumerate(vocabulary.spelling):
        if spelling and token_id not in ends and token_id not in vocabulary.special_ids.values():
            ids.setdefault(spelling, []).append(token_id)
    library = outlines_core.Vocabulary(vocabulary.end_ids[0], ids)

    def compile_grammar(grammar: Grammar) -> OutlinesGrammar:
        try:
            return OutlinesGrammar(outlines_core.Index(_regex(grammar), library), vocabulary.end_ids)
        except GrammarRefused:
            raise
        except Exception as error:  # noqa: BLE001 - the library raises ValueError and others
            raise GrammarRefused(str(error)) from None

    return compile_grammar


def _regex(grammar: Grammar) -> str:
    if grammar.kind == "regex":
        return grammar.text
    if grammar.kind == "choice":
        return "|".join(map(re.escape, json.loads(grammar.text)))
    if grammar.kind == "json_schema":
        pattern = grammar.whitespace_pattern or (WHITESPACE if grammar.any_whitespace else COMPACT)
        return str(build_regex_from_schema(grammar.text, pattern))
    raise GrammarRefused(f"outlines has no {grammar.kind}; it takes json, regex and choice")


class OutlinesGrammar:
    is_spent = False

    def __init__(self, index: Any, end_ids: list[int]) -> None:
        self._index = index
        self._end_ids = frozenset(end_ids)

    def matcher(self) -> Matcher:
        return OutlinesMatcher(outlines_core.Guide(self._index), self._end_ids)


class OutlinesMatcher:
    def __init__(self, library: Any, end_ids: frozenset[int]) -> None:
        self._library = library
        self._end_ids = end_ids

    def fill(self, words: Words) -> None:
        words.fill(0)
        self._library.write_mask_into(words.ctypes.data, words.size, words.itemsize)

    def allows(self, token_id: int) -> bool:
        return bool(self._library.accepts_tokens([token_id]))

    @property
    def may_force(self) -> bool:
        return False

    def accept(self, token_id: int) -> bool:
        if token_id in self._end_ids:
            return True
        if not self.allows(token_id):
            return False
        self._library.advance(token_id, return_tokens=False)
        return True
