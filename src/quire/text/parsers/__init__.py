"""From a reply's text to content, reasoning and tool calls, while it streams: one engine, a table of formats."""

from quire.text.parsers.choice import find_parsers, reasoning_format, tool_format
from quire.text.parsers.events import CallArguments, CallBegin, Content, Event, Reasoning
from quire.text.parsers.formats import ReasoningFormat, ToolFormat
from quire.text.parsers.reasoning_table import REASONING_FORMATS
from quire.text.parsers.reference import parsers_page
from quire.text.parsers.reply import ReplyParser, kept_markers
from quire.text.parsers.tool_table import GENERIC_CALLS, TOOL_FORMATS

__all__ = [
    "GENERIC_CALLS",
    "REASONING_FORMATS",
    "TOOL_FORMATS",
    "CallArguments",
    "CallBegin",
    "Content",
    "Event",
    "Reasoning",
    "ReasoningFormat",
    "ReplyParser",
    "ToolFormat",
    "find_parsers",
    "kept_markers",
    "parsers_page",
    "reasoning_format",
    "tool_format",
]
