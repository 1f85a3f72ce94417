"""From what a caller wants a reply to look like to a grammar that is known to compile."""

from quire.text.grammar.asked import ask_grammar
from quire.text.grammar.checking import GrammarChecker
from quire.text.grammar.libraries import verify_backend
from quire.text.grammar.reasoning import after_reasoning
from quire.text.grammar.tool_calls import forced_format, tool_call_grammar

__all__ = [
    "GrammarChecker",
    "after_reasoning",
    "ask_grammar",
    "forced_format",
    "tool_call_grammar",
    "verify_backend",
]
