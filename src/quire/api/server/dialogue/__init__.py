"""A conversation put to the model and its replies read: what every conversational route is written over."""

from quire.api.server.dialogue.ask import Ask, forced_functions
from quire.api.server.dialogue.dialogue import Dialogue, News, converse, prepare_dialogue
from quire.api.server.dialogue.fitting import count_tokens, encode, fitted
from quire.api.server.dialogue.rendering import render, template_reads

__all__ = [
    "Ask",
    "Dialogue",
    "News",
    "converse",
    "count_tokens",
    "encode",
    "fitted",
    "forced_functions",
    "prepare_dialogue",
    "render",
    "template_reads",
]
