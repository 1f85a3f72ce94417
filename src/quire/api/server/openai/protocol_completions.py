"""`/v1/completions` on the wire: the request, the reply and its stream."""

from __future__ import annotations

import msgspec

from quire.api.server.fields import FieldTable, Refusal
from quire.api.server.openai.protocol_logprobs import CompletionLogprobs, PromptLogprobs
from quire.api.server.openai.shared_fields import HARMLESS, REFUSED, GenerationFields, Int, names_of
from quire.api.server.openai.usage import RequestTimings, Usage


class CompletionRequest(GenerationFields, kw_only=True):
    """`prompt`: a text, texts, token ids, or lists of token ids; or in its place `prompt_embeds`, one file of vectors
    or several, in base64. `logprobs`: how many alternatives."""

    prompt: str | list[str | Int | list[Int]] | None = None
    prompt_embeds: str | list[str] | None = None
    logprobs: Int | None = None
    echo: bool = False


COMPLETION_FIELDS = FieldTable(
    taken=names_of(CompletionRequest),
    harmless=HARMLESS,
    refused={
        **REFUSED,
        "suffix": Refusal("models here continue a text; they do not fill a gap in it", unless=("",)),
        "messages": Refusal("it belongs to /v1/chat/completions; send `prompt`"),
        "max_completion_tokens": Refusal("it belongs to /v1/chat/completions; send `max_tokens`"),
    },
)


class CompletionChoice(msgspec.Struct):
    index: int
    text: str
    logprobs: CompletionLogprobs | None
    finish_reason: str | None
    stop_reason: int | str | None
    prompt_logprobs: PromptLogprobs | msgspec.UnsetType = msgspec.UNSET
    prompt_token_ids: list[int] | msgspec.UnsetType = msgspec.UNSET
    token_ids: list[int] | msgspec.UnsetType = msgspec.UNSET


class CompletionReply(msgspec.Struct, kw_only=True):
    """A whole reply, and (with `usage` only where asked) each chunk of a stream."""

    id: str
    object: str = "text_completion"
    created: int
    model: str
    choices: list[CompletionChoice]
    system_fingerprint: str | None
    usage: Usage | msgspec.UnsetType = msgspec.UNSET
    metrics: RequestTimings | msgspec.UnsetType = msgspec.UNSET
