"""`/v1/chat/completions` on the wire: the request, the reply and the chunks of its stream."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from quire.api.server.fields import FieldTable, Refusal
from quire.api.server.openai.protocol_logprobs import ChatLogprobs, PromptLogprobs
from quire.api.server.openai.shared_fields import HARMLESS, REFUSED, GenerationFields, Int, names_of
from quire.api.server.openai.usage import RequestTimings, Usage


class ContentPart(msgspec.Struct):
    """A piece of a message's content; only text is taken today."""

    type: str
    text: str | None = None
    refusal: str | None = None


class FunctionCall(msgspec.Struct):
    name: str
    arguments: str | dict[str, Any] = ""


class ToolCall(msgspec.Struct):
    function: FunctionCall
    id: str | None = None
    type: Literal["function"] = "function"


class ChatMessage(msgspec.Struct):
    """What every message must satisfy. Further keys are passed to the chat template as they are."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[ContentPart] | None = None
    name: str | None = None
    tool_call_id: str | None = None
    tool_calls: list[ToolCall] | None = None


class FunctionTool(msgspec.Struct):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None


class Tool(msgspec.Struct):
    type: Literal["function"]
    function: FunctionTool


class NamedFunction(msgspec.Struct):
    name: str


class NamedTool(msgspec.Struct):
    """`tool_choice` as an object: the one function that must be called."""

    type: Literal["function"]
    function: NamedFunction


class ChatFields(GenerationFields, kw_only=True):
    """All but the messages. `tools`, as they, are checked one by one later, so that errors carry their index."""

    max_completion_tokens: Int | None = None
    logprobs: bool | None = None
    top_logprobs: Int | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    reasoning_effort: str | None = None
    echo: bool = False
    add_generation_prompt: bool | None = None
    continue_final_message: bool = False
    parallel_tool_calls: bool = True
    include_reasoning: bool = True
    chat_template: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    documents: list[dict[str, str]] | None = None
    return_prompt_text: bool = False


class ChatRequest(ChatFields, kw_only=True):
    messages: list[dict[str, Any]]


class ChatBatchRequest(ChatFields, kw_only=True):
    """Many conversations, which share everything else."""

    messages: list[list[dict[str, Any]]]


_FUNCTIONS = "it was replaced by tools and tool_choice"
_TEXT_ONLY = "this model takes and gives text only"

_CHAT_REFUSED: dict[str, Refusal] = {
    **REFUSED,
    "functions": Refusal(_FUNCTIONS, unless=([],)),
    "function_call": Refusal(_FUNCTIONS, unless=("none",)),
    "audio": Refusal(_TEXT_ONLY),
    "modalities": Refusal(_TEXT_ONLY, unless=(["text"],)),
    "prediction": Refusal("use speculative decoding on the server instead"),
    "web_search_options": Refusal("this server does not reach the web"),
    "verbosity": Refusal("no model here reads it; say it in the prompt"),
    "moderation": Refusal("nothing is moderated here"),
    "media_io_kwargs": Refusal(_TEXT_ONLY),
    "mm_processor_kwargs": Refusal(_TEXT_ONLY),
    "prompt": Refusal("it belongs to /v1/completions; send `messages`"),
}
CHAT_FIELDS = FieldTable(taken=names_of(ChatRequest), harmless=HARMLESS, refused=_CHAT_REFUSED)

_BATCH = "a batch is answered whole, one answer per conversation"
_BATCH_REFUSED: dict[str, Refusal] = {
    **_CHAT_REFUSED,
    "n": Refusal(_BATCH, unless=(1,)),
    "stream": Refusal(_BATCH, unless=(False,)),
    "stream_options": Refusal(_BATCH),
    "use_beam_search": Refusal(_BATCH, unless=(False,)),
    "prompt_logprobs": Refusal(_BATCH),
    "return_prompt_text": Refusal(_BATCH, unless=(False,)),
}
CHAT_BATCH_FIELDS = FieldTable(
    taken=[name for name in names_of(ChatBatchRequest) if name not in _BATCH_REFUSED],
    harmless=HARMLESS,
    refused=_BATCH_REFUSED,
)


class ReplyFunction(msgspec.Struct):
    name: str
    arguments: str


class ReplyToolCall(msgspec.Struct):
    id: str
    function: ReplyFunction
    type: str = "function"


class ReplyMessage(msgspec.Struct):
    """`content` is null where a reply is nothing but calls. `reasoning_content` is what older clients read."""

    role: str
    content: str | None
    reasoning: str | msgspec.UnsetType = msgspec.UNSET
    reasoning_content: str | msgspec.UnsetType = msgspec.UNSET
    tool_calls: list[ReplyToolCall] | msgspec.UnsetType = msgspec.UNSET


class ChatChoice(msgspec.Struct):
    index: int
    message: ReplyMessage
    logprobs: ChatLogprobs | None
    finish_reason: str | None
    stop_reason: int | str | None
    token_ids: list[int] | msgspec.UnsetType = msgspec.UNSET


class ChatReply(msgspec.Struct, kw_only=True):
    id: str
    object: str = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage
    system_fingerprint: str | None
    prompt_logprobs: PromptLogprobs | msgspec.UnsetType = msgspec.UNSET
    prompt_token_ids: list[int] | msgspec.UnsetType = msgspec.UNSET
    prompt_text: str | msgspec.UnsetType = msgspec.UNSET
    metrics: RequestTimings | msgspec.UnsetType = msgspec.UNSET


class DeltaFunction(msgspec.Struct, omit_defaults=True):
    name: str | None = None
    arguments: str | None = None


class DeltaToolCall(msgspec.Struct, omit_defaults=True):
    """A call's first delta has its id, type and name; the others more of its arguments."""

    index: int
    function: DeltaFunction
    id: str | None = None
    type: str | None = None


class Delta(msgspec.Struct, omit_defaults=True):
    role: str | None = None
    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[DeltaToolCall] | None = None


class ChunkChoice(msgspec.Struct):
    index: int
    delta: Delta
    logprobs: ChatLogprobs | None
    finish_reason: str | None
    stop_reason: int | str | msgspec.UnsetType | None = msgspec.UNSET
    token_ids: list[int] | msgspec.UnsetType = msgspec.UNSET


class ChatChunk(msgspec.Struct, kw_only=True):
    id: str
    object: str = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    system_fingerprint: str | None
    usage: Usage | msgspec.UnsetType = msgspec.UNSET
    prompt_token_ids: list[int] | msgspec.UnsetType = msgspec.UNSET
    prompt_text: str | msgspec.UnsetType = msgspec.UNSET
    metrics: RequestTimings | msgspec.UnsetType = msgspec.UNSET
