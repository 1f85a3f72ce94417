"""`/v1/messages` and `/v1/messages/count_tokens` on the wire: the requests. Replies are in `reply_types`."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from quire.api.server.fields import FieldTable, Refusal
from quire.api.server.openai.shared_fields import Float, Int, names_of
from quire.base.constraints import StructuredOutputsParams

CacheControl = dict[str, Any] | None  # every prefix is cached, marked or not


class TextBlock(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`citations` come back with answers of other servers; what they cite is in the text."""

    type: Literal["text"]
    text: str
    cache_control: CacheControl = None
    citations: list[Any] | None = None


class ToolUseBlock(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    type: Literal["tool_use"]
    id: str
    name: str
    input: dict[str, Any]
    cache_control: CacheControl = None
    caller: dict[str, Any] | None = None


class ToolResultBlock(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    type: Literal["tool_result"]
    tool_use_id: str
    content: str | list[dict[str, Any]] = ""
    is_error: bool = False
    cache_control: CacheControl = None


class ThinkingBlock(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Its signature is not checked: the text may come from any server."""

    type: Literal["thinking"]
    thinking: str
    signature: str = ""


class RedactedThinkingBlock(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Sealed by another server; nobody here can read it, so the model is not shown it."""

    type: Literal["redacted_thinking"]
    data: str


class Message(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    role: Literal["user", "assistant", "system"]
    content: str | list[dict[str, Any]]


class Tool(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`strict` asks for what forced calls get anyway, `eager_input_streaming` for what happens always."""

    name: str
    input_schema: dict[str, Any]
    description: str | None = None
    type: Literal["custom"] = "custom"
    cache_control: CacheControl = None
    strict: bool | None = None
    eager_input_streaming: bool | None = None


class ToolChoice(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool = False


class Thinking(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`display` says whether thinking is shown; where it is, it is shown as it is."""

    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: Int | None = None
    display: Literal["summarized", "omitted"] | None = None


class OutputFormat(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    type: Literal["json_schema"]
    schema: dict[str, Any]


class OutputConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    effort: str | None = None
    format: OutputFormat | None = None


class PromptFields(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What makes the prompt, for both routes."""

    model: str | None = None
    messages: list[dict[str, Any]]
    system: str | list[dict[str, Any]] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    chat_template_kwargs: dict[str, Any] | None = None


class MessagesRequest(PromptFields, kw_only=True):
    """Anthropic's fields, then vLLM's. Messages, blocks and tools are checked one by one later."""

    max_tokens: Int
    stop_sequences: list[str] | None = None
    stream: bool = False
    temperature: Float | None = None
    top_p: Float | None = None
    top_k: Int | None = None

    min_p: Float | None = None
    repetition_penalty: Float | None = None
    seed: Int | None = None
    stop_token_ids: list[Int] | None = None
    ignore_eos: bool | None = None
    structured_outputs: StructuredOutputsParams | None = None
    priority: Int = 0
    cache_salt: str | None = None
    request_id: str | None = None


class CountTokensRequest(PromptFields, kw_only=True): ...


# SamplingParams fields whose request field has the same name and meaning
SAMPLING_FIELDS = (
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "seed",
    "stop_token_ids",
    "ignore_eos",
)

_HARMLESS: dict[str, type] = {"cache_control": dict}
_REFUSED = {
    "container": Refusal("no code is run here"),
    "mcp_servers": Refusal("this server reaches no other; declare tools"),
    "context_management": Refusal("nothing is dropped from a conversation here"),
    "diagnostics": Refusal("there are none"),
    "inference_geo": Refusal("there is one place, this server"),
    "speed": Refusal("there is one speed", unless=("standard",)),
    "user_profile_id": Refusal("no profiles are kept"),
    "workspace_id": Refusal("there are no workspaces"),
    "output_format": Refusal("it is called output_config.format"),
}
_TRANSFER = "keys and values are not moved between servers"

MESSAGES_FIELDS = FieldTable(
    taken=names_of(MessagesRequest),
    harmless={**_HARMLESS, "metadata": dict},
    refused={
        **_REFUSED,
        "service_tier": Refusal("there is one tier", unless=("auto", "standard_only")),
        "max_tokens_to_sample": Refusal("it is called max_tokens"),
        "prompt": Refusal("send `messages`"),
        "stop": Refusal("it is called stop_sequences"),
        "n": Refusal("a message is one answer", unless=(1,)),
        "kv_transfer_params": Refusal(_TRANSFER),
        "ec_transfer_params": Refusal(_TRANSFER),
        "vllm_xargs": Refusal("no extension is loaded that reads it"),
    },
)
COUNT_FIELDS = FieldTable(taken=names_of(CountTokensRequest), harmless=_HARMLESS, refused=_REFUSED)
