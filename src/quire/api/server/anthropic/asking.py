"""From a request about messages to an Ask: blocks to chat messages, tools to chat's, fields to sampling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quire.api.server.anthropic.blocks import read_conversation
from quire.api.server.anthropic.protocol import (
    SAMPLING_FIELDS,
    MessagesRequest,
    PromptFields,
    Thinking,
    Tool,
)
from quire.api.server.body import convert
from quire.api.server.dialogue import Ask, template_reads
from quire.api.server.openai.conversation import read_tools
from quire.api.server.service import Service
from quire.base.constraints import StructuredOutputsParams
from quire.base.errors import InvalidValue, Unsupported
from quire.base.messages import OutputKind, SamplingParams
from quire.text.session import Session

SWITCH = "enable_thinking"  # what chat templates call it

_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def names_for(fields: PromptFields) -> dict[str, str]:
    """What an Ask's fields are called in this request."""
    has_format = fields.output_config is not None and fields.output_config.format is not None
    return {
        "prompt": "messages",
        "continue_final_message": "messages",
        "stop": "stop_sequences",
        "reasoning_effort": "output_config.effort",
        "thinking_token_budget": "thinking.budget_tokens",
        **({"structured_outputs": "output_config.format"} if has_format else {}),
    }


def make_ask(
    service: Service, session: Session, fields: PromptFields, sampling: SamplingParams, *, request_id: str
) -> Ask:
    """Raises UserError naming the field; some of them by the names of an Ask (see `names_for`)."""
    messages = read_conversation(fields.system, fields.messages)
    tools = [_chat_tool(tool, f"tools[{place}]") for place, tool in enumerate(fields.tools or ())] or None
    choice = _chat_choice(fields, tools)
    goes_on = messages[-1]["role"] == "assistant" and not messages[-1].get("tool_calls")
    return Ask(
        request_id=request_id,
        messages=messages,
        sampling=sampling,
        tools=read_tools(tools, choice),
        tool_choice=choice,
        parallel_tool_calls=not (fields.tool_choice and fields.tool_choice.disable_parallel_tool_use),
        include_reasoning=_shows_thinking(service, fields.thinking),
        reasoning_effort=fields.output_config.effort if fields.output_config else None,
        continue_final_message=goes_on,
        chat_template_kwargs=_template_kwargs(session, fields),
        priority=fields.priority if isinstance(fields, MessagesRequest) else 0,
        cache_salt=(fields.cache_salt or "") if isinstance(fields, MessagesRequest) else "",
        is_streamed=isinstance(fields, MessagesRequest) and fields.stream,
        cuts_max_tokens=True,
    )


def sampling_for(session: Session, fields: MessagesRequest) -> SamplingParams:
    asked = {name: getattr(fields, name) for name in SAMPLING_FIELDS}
    asked["stop"] = fields.stop_sequences or None
    asked["structured_outputs"] = _structured_outputs(fields)
    budget = fields.thinking.budget_tokens if fields.thinking else None
    if budget is not None:
        if budget >= fields.max_tokens:
            raise InvalidValue(
                f"thinking.budget_tokens must be less than max_tokens ({fields.max_tokens}), got {budget}",
                field="thinking.budget_tokens",
            )
        asked["thinking_token_budget"] = budget
    return session.sampling_params({**asked, "output_kind": OutputKind.DELTA})


def _structured_outputs(fields: MessagesRequest) -> StructuredOutputsParams | None:
    wanted = fields.output_config.format if fields.output_config else None
    if wanted is None:
        return fields.structured_outputs
    if fields.structured_outputs is not None:
        raise InvalidValue(
            "output_config.format and structured_outputs exclude each other", field="output_config.format"
        )
    return StructuredOutputsParams(json=wanted.schema)


def _chat_tool(raw: Mapping[str, Any], path: str) -> dict[str, Any]:
    kind = raw.get("type")
    if isinstance(kind, str) and kind != "custom":
        raise Unsupported(
            f"{path}.type: {kind[:100]!r} is not supported: this server runs no tools of its own; "
            "declare one with name and input_schema",
            field=f"{path}.type",
        )
    tool = convert({name: value for name, value in raw.items() if value is not None}, Tool, under=path)
    function: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    return {"type": "function", "function": {**function, "parameters": tool.input_schema}}


def _chat_choice(fields: PromptFields, tools: list[dict[str, Any]] | None) -> str | dict[str, Any] | None:
    choice = fields.tool_choice
    if choice is None or (tools is None and choice.type == "auto"):
        return None
    if (choice.type == "tool") != (choice.name is not None):
        raise InvalidValue(
            'tool_choice.name belongs to the type "tool", and only there', field="tool_choice.name"
        )
    if choice.type == "tool":
        return {"type": "function", "function": {"name": choice.name}}
    return _CHOICES[choice.type]


def _shows_thinking(service: Service, thinking: Thinking | None) -> bool:
    """Whether thinking is told. Raises where it is asked for, or about, and this server cannot tell it apart."""
    if thinking is None:
        return True
    if thinking.type != "enabled" and thinking.budget_tokens is not None:
        raise InvalidValue(
            'thinking.budget_tokens belongs to the type "enabled"', field="thinking.budget_tokens"
        )
    if not service.config.reasoning_parser:
        if thinking.type == "disabled":
            return True  # there is none to hide
        raise Unsupported(
            f"thinking.type {thinking.type!r} is not supported: this server does not tell thinking from text; "
            "start it with --reasoning-parser",
            field="thinking.type",
        )
    return thinking.type != "disabled" and thinking.display != "omitted"


def _template_kwargs(session: Session, fields: PromptFields) -> dict[str, Any] | None:
    """A template that can switch thinking is told; another model thinks as it does, or not."""
    if fields.thinking is None or not template_reads(session, SWITCH):
        return fields.chat_template_kwargs
    return {SWITCH: fields.thinking.type != "disabled", **(fields.chat_template_kwargs or {})}
