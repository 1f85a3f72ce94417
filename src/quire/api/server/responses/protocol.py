"""`/v1/responses` on the wire: the request and its items. What the server makes of it is in `reply_types`."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from quire.api.server.fields import FieldTable, Refusal
from quire.api.server.openai.shared_fields import Float, Int, names_of
from quire.base.constraints import StructuredOutputsParams

LOGPROBS = "message.output_text.logprobs"
# Reasoning items carry the reasoning itself, which can be sent back as it is: nothing is left to encrypt.
INCLUDABLE = (LOGPROBS, "reasoning.encrypted_content")


class TextPart(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A part of an item's content. What an answer's part has beside its text may be sent back and says nothing."""

    type: str
    text: str | None = None
    refusal: str | None = None
    annotations: list[Any] | None = None
    logprobs: list[Any] | None = None
    parsed: Any = None


class MessageItem(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[dict[str, Any]]
    id: str | None = None
    status: str | None = None
    phase: str | None = None


class FunctionCallItem(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str
    id: str | None = None
    status: str | None = None
    parsed_arguments: Any = None


class FunctionCallOutputItem(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    type: Literal["function_call_output"]
    call_id: str
    output: str | list[dict[str, Any]]
    name: str | None = None
    id: str | None = None
    status: str | None = None


class ReasoningItem(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    type: Literal["reasoning"]
    summary: list[dict[str, Any]] = []
    content: list[dict[str, Any]] | None = None
    encrypted_content: str | None = None
    id: str | None = None
    status: str | None = None


class FunctionTool(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`strict` asks for what forced calls get anyway: arguments after the schema."""

    type: Literal["function"]
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class NamedFunction(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    type: Literal["function"]
    name: str


class AllowedTools(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`tool_choice` that leaves the model some of the tools only."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: list[NamedFunction]


class TextFormat(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`schema` and `name` belong to json_schema. `strict` asks for what always happens."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    name: str | None = None
    schema: dict[str, Any] | None = None
    description: str | None = None
    strict: bool | None = None


class TextConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    format: TextFormat | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class ReasoningConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None


class ResponsesStreamOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    include_obfuscation: Literal[False] = False


class PromptFields(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a prompt is made of. Items and tools are checked one by one later, so errors carry their index."""

    model: str | None = None
    input: str | list[dict[str, Any]]
    instructions: str | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool = True
    text: TextConfig | None = None
    reasoning: ReasoningConfig | None = None
    truncation: Literal["auto", "disabled"] = "disabled"
    previous_response_id: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None


class InputTokensRequest(PromptFields, kw_only=True):
    """Asks how many tokens the prompt has."""


class ResponsesRequest(PromptFields, kw_only=True):
    """OpenAI's fields, then vLLM's."""

    max_output_tokens: Int | None = None
    temperature: Float | None = None
    top_p: Float | None = None
    top_logprobs: Int | None = None
    include: list[str] | None = None
    metadata: dict[str, str] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    store: bool | None = None
    background: bool = False
    stream: bool = False
    stream_options: ResponsesStreamOptions | None = None

    top_k: Int | None = None
    min_p: Float | None = None
    presence_penalty: Float | None = None
    frequency_penalty: Float | None = None
    repetition_penalty: Float | None = None
    logit_bias: dict[Int, Float] | None = None
    seed: Int | None = None
    stop: str | list[str] | None = None
    stop_token_ids: list[Int] | None = None
    include_stop_str_in_output: bool | None = None
    ignore_eos: bool | None = None
    min_tokens: Int | None = None
    skip_special_tokens: bool | None = None
    structured_outputs: StructuredOutputsParams | None = None
    priority: Int = 0
    cache_salt: str | None = None
    request_id: str | None = None


# SamplingParams fields whose request field has the same name and meaning
SAMPLING_FIELDS = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "logit_bias",
    "seed",
    "stop",
    "stop_token_ids",
    "include_stop_str_in_output",
    "ignore_eos",
    "min_tokens",
    "skip_special_tokens",
)

_TRANSFER = "keys and values are not moved between servers"
_TEXT_ONLY = "this model takes and gives text only"

RESPONSES_FIELDS = FieldTable(
    taken=names_of(ResponsesRequest),
    harmless={},
    refused={
        "conversation": Refusal("conversations are not kept by name; send previous_response_id"),
        "prompt": Refusal("no prompt is stored on this server; send it as instructions or input"),
        "max_tool_calls": Refusal("it bounds built-in tools, and this server has none"),
        "moderation": Refusal("nothing is moderated here"),
        "context_management": Refusal("nothing is compacted here; truncation is"),
        "access_programs": Refusal("there are none"),
        "image": Refusal(_TEXT_ONLY),
        "service_tier": Refusal("there is one tier", unless=("auto", "default")),
        "prompt_cache_retention": Refusal(
            "prefixes stay cached as long as memory lasts", unless=("in_memory",)
        ),
        "prompt_cache_options": Refusal("prefixes are found and kept without being told"),
        "messages": Refusal("it belongs to /v1/chat/completions; send `input`"),
        "max_tokens": Refusal("it is called max_output_tokens here"),
        "response_format": Refusal("it is called text.format here"),
        "reasoning_effort": Refusal("it is called reasoning.effort here"),
        "n": Refusal("a response is one answer", unless=(1,)),
        "logprobs": Refusal(f"send include: [{LOGPROBS!r}]", unless=(False,)),
        "previous_input_messages": Refusal("send what came before as input"),
        "enable_response_messages": Refusal(
            "the prompt's messages are not repeated in the reply", unless=(False,)
        ),
        "kv_transfer_params": Refusal(_TRANSFER),
        "ec_transfer_params": Refusal(_TRANSFER),
        "vllm_xargs": Refusal("no extension is loaded that reads it"),
        "media_io_kwargs": Refusal(_TEXT_ONLY),
        "mm_processor_kwargs": Refusal(_TEXT_ONLY),
    },
)

_COUNTED = set(names_of(InputTokensRequest))
INPUT_TOKENS_FIELDS = FieldTable(
    taken=_COUNTED,
    harmless={},
    refused={
        "conversation": RESPONSES_FIELDS.refused["conversation"],
        **{
            name: Refusal("no answer is made; it has no tokens in the prompt")
            for name in names_of(ResponsesRequest)
            if name not in _COUNTED
        },
    },
)
