"""From a reply's text to content, reasoning and tool calls, while it streams: one engine, a table of formats."""

from quire.text.parsers.choice import find_parsers, reasoning_format, reasoning_of, tool_format
from quire.text.parsers.events import CallArguments, CallBegin, Content, Event, Reasoning
from quire.text.parsers.formats import ReasoningFormat, ToolFormat
from quire.text.parsers.plugin_file import load_plugin_file
from quire.text.parsers.reading import ReplyReading
from quire.text.parsers.reasoning_table import REASONING_FORMATS
from quire.text.parsers.reply import ReplyParser
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
    "ReplyReading",
    "ToolFormat",
    "find_parsers",
    "load_plugin_file",
    "reasoning_format",
    "reasoning_of",
    "tool_format",
]
