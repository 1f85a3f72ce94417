"""What a plugin file imports: the words in which a format is declared, and what a reader of its own works with.

    from quire.text.parsers.authoring import JsonCall, ReasoningFormat, ToolFormat

    FORMATS = [ToolFormat(name="mine", syntax=JsonCall(), begins=("<call>",), ends=("</call>",))]

docs/parsers.md tells more.
"""

from quire.text.parsers.draft import CallDraft
from quire.text.parsers.events import Outbox
from quire.text.parsers.formats import (
    JsonCall,
    NamedCall,
    OwnCalls,
    PythonCall,
    ReasoningFormat,
    TaggedCall,
    ToolFormat,
    long_id,
    short_id,
)
from quire.text.parsers.json_calls import copy_arguments
from quire.text.parsers.source import Source, Steps

__all__ = [
    "CallDraft",
    "JsonCall",
    "NamedCall",
    "Outbox",
    "OwnCalls",
    "PythonCall",
    "ReasoningFormat",
    "Source",
    "Steps",
    "TaggedCall",
    "ToolFormat",
    "copy_arguments",
    "long_id",
    "short_id",
]
