"""From a ResponsesRequest to an Ask: items to messages, flat tools to chat's, fields to sampling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from quire.api.server.body import convert
from quire.api.server.dialogue import Ask
from quire.api.server.fields import renamed
from quire.api.server.openai.conversation import read_tools
from quire.api.server.responses.protocol import (
    INCLUDABLE,
    LOGPROBS,
    SAMPLING_FIELDS,
    AllowedTools,
    FunctionTool,
    NamedFunction,
    PromptFields,
    ResponsesRequest,
)
from quire.base.constraints import StructuredOutputsParams
from quire.base.errors import InvalidValue, Unsupported
from quire.base.messages import OutputKind, SamplingParams
from quire.text.session import Session

MAX_METADATA = 16
MAX_METADATA_CHARS = (64, 512)  # of a key, of a value

SAMPLING_NAMES = {"max_tokens": "max_output_tokens", "logprobs": "top_logprobs"}
NAMES = {
    **SAMPLING_NAMES,
    "messages": "input",
    "prompt": "input",
    "reasoning_effort": "reasoning.effort",
}


def names_for(fields: PromptFields) -> dict[str, str]:
    """What an Ask's fields are called in this request."""
    has_format = fields.text is not None and fields.text.format is not None
    return {**NAMES, **({"structured_outputs": "text.format"} if has_format else {})}


def make_ask(
    fields: PromptFields,
    messages: list[dict[str, Any]],
    sampling: SamplingParams,
    *,
    request_id: str = "",
    priority: int = 0,
    cache_salt: str = "",
    is_streamed: bool = False,
) -> Ask:
    """`messages` are those of `input` and of what came before it. Raises UserError naming the field."""
    _check_wishes(fields)
    tools, choice = _tools(fields)
    lead = [] if fields.instructions is None else [{"role": "system", "content": fields.instructions}]
    with renamed(names_for(fields)):
        return Ask(
            request_id=request_id,
            messages=[*lead, *messages],
            sampling=sampling,
            tools=read_tools(tools, choice),
            tool_choice=choice,
            parallel_tool_calls=fields.parallel_tool_calls,
            reasoning_effort=fields.reasoning.effort if fields.reasoning else None,
            chat_template_kwargs=fields.chat_template_kwargs,
            priority=priority,
            cache_salt=cache_salt,
            is_streamed=is_streamed,
        )


def wants_logprobs(fields: ResponsesRequest) -> bool:
    return LOGPROBS in (fields.include or ())


def _check_answer(fields: ResponsesRequest) -> None:
    for place, name in enumerate(fields.include or ()):
        if name not in INCLUDABLE:
            raise Unsupported(
                f"include[{place}]: {name[:100]!r} is not supported; there is {' and '.join(INCLUDABLE)}",
                field=f"include[{place}]",
            )
    if fields.top_logprobs and not wants_logprobs(fields):
        raise InvalidValue(f"top_logprobs needs include: [{LOGPROBS!r}]", field="top_logprobs")
    if fields.stream_options is not None and not fields.stream:
        raise InvalidValue("stream_options needs stream=true", field="stream_options")
    _check_metadata(fields.metadata or {})


def _check_wishes(fields: PromptFields) -> None:
    """What nothing here would heed."""
    if fields.text is not None and fields.text.verbosity not in (None, "medium"):
        raise Unsupported(
            "text.verbosity is not supported: no model here reads it; say it in the prompt (only `medium` is taken)",
            field="text.verbosity",
        )
    for name in ("summary", "generate_summary"):
        if fields.reasoning is not None and getattr(fields.reasoning, name) not in (None, "auto"):
            raise Unsupported(
                f"reasoning.{name} is not supported: reasoning is shown as it is, nobody sums it up "
                "(only `auto` is taken)",
                field=f"reasoning.{name}",
            )


def _check_metadata(metadata: Mapping[str, str]) -> None:
    key_chars, value_chars = MAX_METADATA_CHARS
    is_small = all(len(key) <= key_chars and len(value) <= value_chars for key, value in metadata.items())
    if len(metadata) > MAX_METADATA or not is_small:
        raise InvalidValue(
            f"metadata may hold at most {MAX_METADATA} pairs, of a key of {key_chars} and a value of {value_chars} "
            "characters",
            field="metadata",
        )


def sampling_for(session: Session, fields: ResponsesRequest) -> SamplingParams:
    """How the answer is made. Raises UserError naming the field."""
    _check_answer(fields)
    asked = {name: getattr(fields, name) for name in SAMPLING_FIELDS}
    asked["max_tokens"] = fields.max_output_tokens
    asked["logprobs"] = (fields.top_logprobs or 0) if wants_logprobs(fields) else None
    asked["structured_outputs"] = _structured_outputs(fields)
    with renamed(names_for(fields)):
        return session.sampling_params({**asked, "output_kind": OutputKind.DELTA})


def _structured_outputs(fields: ResponsesRequest) -> StructuredOutputsParams | None:
    wanted = fields.text.format if fields.text else None
    if wanted is None or wanted.type == "text":
        return fields.structured_outputs
    if fields.structured_outputs is not None:
        raise InvalidValue("text.format and structured_outputs exclude each other", field="text.format")
    if wanted.type == "json_object":
        return StructuredOutputsParams(json_object=True)
    if wanted.schema is None:
        raise InvalidValue("text.format.schema is required", field="text.format.schema")
    return StructuredOutputsParams(json=wanted.schema)


def _tools(fields: PromptFields) -> tuple[list[dict[str, Any]] | None, str | dict[str, Any] | None]:
    """Chat's `tools` and `tool_choice`. Tools that the choice does not allow are not shown."""
    if not fields.tools:  # OpenAI's client sends [] for none
        return None, _chat_choice(fields.tool_choice, None)[1]
    tools = [_chat_tool(tool, f"tools[{place}]") for place, tool in enumerate(fields.tools)]
    return _chat_choice(fields.tool_choice, tools)


def _chat_tool(tool: Mapping[str, Any], path: str) -> dict[str, Any]:
    if isinstance(tool.get("type"), str) and tool["type"] != "function":
        raise Unsupported(
            f"{path}.type: {tool['type'][:100]!r} is not supported: this server runs no tools of its own; "
            "declare a function",
            field=f"{path}.type",
        )
    read = convert(
        {name: value for name, value in tool.items() if value is not None}, FunctionTool, under=path
    )
    function = {"name": read.name, "description": read.description, "parameters": read.parameters}
    return {
        "type": "function",
        "function": {name: value for name, value in function.items() if value is not None},
    }


def _chat_choice(
    choice: str | dict[str, Any] | None, tools: list[dict[str, Any]] | None
) -> tuple[list[dict[str, Any]] | None, str | dict[str, Any] | None]:
    if not isinstance(choice, dict):
        return tools, None if choice == "auto" and tools is None else choice
    kind = choice.get("type")
    if kind == "function":
        named = convert(choice, NamedFunction, under="tool_choice")
        return tools, {"type": "function", "function": {"name": named.name}}
    if kind != "allowed_tools":
        raise Unsupported(
            f"tool_choice.type: {str(kind)[:100]!r} is not supported; there is function and allowed_tools",
            field="tool_choice.type",
        )
    allowed = convert(choice, AllowedTools, under="tool_choice")
    return _allowed(tools or [], [one.name for one in allowed.tools]), allowed.mode


def _allowed(tools: Sequence[dict[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    known = {tool["function"]["name"]: tool for tool in tools}
    for place, name in enumerate(names):
        if name not in known:
            raise InvalidValue(
                f"tool_choice.tools[{place}].name: {name[:100]!r} is not among tools",
                field=f"tool_choice.tools[{place}].name",
            )
    return [known[name] for name in dict.fromkeys(names)]
