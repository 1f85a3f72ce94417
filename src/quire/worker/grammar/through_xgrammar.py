"""Grammars through xgrammar, an extra: it brings packages for GPUs along."""

from __future__ import annotations

import json
from typing import Any

import torch
import xgrammar

from quire.base.constraints import Grammar
from quire.worker.grammar.backend import Compile, GrammarRefused, Matcher, Words
from quire.worker.grammar.vocabulary import Vocabulary


def compiler(vocabulary: Vocabulary) -> Compile:
    special_ids = set(vocabulary.special_ids.values())
    info = xgrammar.TokenizerInfo(
        [
            b"" if token_id in special_ids else spelling
            for token_id, spelling in enumerate(vocabulary.spelling)
        ],
        vocab_type=xgrammar.VocabType.RAW,
        vocab_size=vocabulary.size,
        stop_token_ids=vocabulary.end_ids,
    )
    library = xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)

    def compile_grammar(grammar: Grammar) -> XGrammar:
        try:
            return XGrammar(_compile(library, grammar))
        except Exception as error:  # noqa: BLE001 - the library raises RuntimeError and others
            raise GrammarRefused(str(error)) from None

    return compile_grammar


def _compile(library: Any, grammar: Grammar) -> Any:
    if grammar.whitespace_pattern:
        raise GrammarRefused(
            "whitespace_pattern is not known to xgrammar; set disable_any_whitespace instead"
        )
    if grammar.kind == "json_schema":
        return library.compile_json_schema(
            grammar.text, any_whitespace=grammar.any_whitespace, strict_mode=False
        )
    if grammar.kind == "regex":
        return library.compile_regex(grammar.text)
    if grammar.kind == "structural_tag":
        return library.compile_structural_tag({"type": "structural_tag", **json.loads(grammar.text)})
    if grammar.kind == "choice":
        choices = json.loads(grammar.text)
        return library.compile_grammar("root ::= " + " | ".join(map(json.dumps, choices)))
    return library.compile_grammar(grammar.text)


class XGrammar:
    is_spent = False

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled

    def matcher(self) -> Matcher:
        return XGrammarMatcher(xgrammar.GrammarMatcher(self._compiled))


class XGrammarMatcher:
    def __init__(self, library: Any) -> None:
        self._library = library

    def fill(self, words: Words) -> None:
        if self._library.is_terminated():
            words.fill(0)
        else:
            self._library.fill_next_token_bitmask(torch.from_numpy(words)[None])

    def allows(self, token_id: int) -> bool:
        if not self._library.accept_token(token_id):
            return False
        self._library.rollback(1)
        return True

    @property
    def may_force(self) -> bool:
        return False

    def accept(self, token_id: int) -> bool:
        return self._library.is_terminated() or bool(self._library.accept_token(token_id))
