"""Grammars: compiled off the step loop, then asked at each step which tokens may come next. Knows no tensors."""

from quire.worker.grammar.backend import GrammarRefused, Matcher
from quire.worker.grammar.progress import GrammarProgress
from quire.worker.grammar.store import GrammarStore
from quire.worker.grammar.vocabulary import Vocabulary

__all__ = ["GrammarProgress", "GrammarRefused", "GrammarStore", "Matcher", "Vocabulary"]
