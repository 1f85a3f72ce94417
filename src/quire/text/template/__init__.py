"""Chat templates: a conversation becomes prompt text, in a sandbox that a runaway template cannot hold."""

from quire.text.template.sources import find_templates, read_override
from quire.text.template.template import RESERVED_KWARGS, ChatTemplate

__all__ = ["RESERVED_KWARGS", "ChatTemplate", "find_templates", "read_override"]
