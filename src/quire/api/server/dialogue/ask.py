"""Ask: what a route wants of the model, in chat's shapes, whichever API the caller speaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quire.base.errors import InvalidValue
from quire.base.messages import SamplingParams


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Messages and tools are checked, `tools` are those the model is shown.

    Errors about an Ask name its fields; a route that calls them otherwise renames them.
    """

    request_id: str
    messages: list[dict[str, Any]]
    sampling: SamplingParams
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool = True
    include_reasoning: bool = True
    reasoning_effort: str | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool = False
    chat_template_kwargs: dict[str, Any] | None = None
    chat_template: str | None = None  # of the request itself
    documents: list[dict[str, str]] | None = None
    add_special_tokens: bool = False  # the template wrote them already
    is_streamed: bool = False
    cuts_max_tokens: bool = False  # to what the context has room for, rather than refuse more
    priority: int = 0
    cache_salt: str = ""


def forced_functions(
    tools: Sequence[Mapping[str, Any]] | None, choice: str | Mapping[str, Any] | None
) -> dict[str, Any]:
    """Parameters by name of the functions one of which must be called; empty where none has to be."""
    if not tools or choice in (None, "auto", "none"):
        return {}
    functions = {tool["function"]["name"]: tool["function"].get("parameters") for tool in tools}
    if isinstance(choice, Mapping):
        name = choice["function"]["name"]
        if name not in functions:
            raise InvalidValue(
                f"tool_choice names {name[:100]!r}, which is not among tools", field="tool_choice"
            )
        return {name: functions[name]}
    return functions
