"""The request fields the pooling routes have in common, and the known ones that all of them refuse."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from quire.api.server.fields import FieldTable, Refusal
from quire.api.server.openai.shared_fields import Int, names_of

_TEXT_ONLY = "this model takes text only"
_ONE_WAY = "it is chosen for the whole server, with --pooler-config"

HARMLESS: dict[str, type] = {"user": str, "metadata": dict}
REFUSED: dict[str, Refusal] = {
    "padding": Refusal("prompts stand side by side in a step, and none is padded", unless=(False,)),
    "mm_processor_kwargs": Refusal(_TEXT_ONLY),
    "chat_template": Refusal("requests may not bring a template; start the server with --chat-template"),
    "normalize": Refusal("vLLM 0.33 no longer has it; use use_activation"),
    "activation": Refusal("vLLM 0.33 no longer has it; use use_activation"),
    "softmax": Refusal("vLLM 0.33 no longer has it; use use_activation"),
    "pooling_type": Refusal(_ONE_WAY),
    "additional_data": Refusal("no processor is loaded that reads it"),
    "media_io_kwargs": Refusal(_TEXT_ONLY),
}


class PoolingFields(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """None means left out; ranges are checked by PoolingParams and by the text's side."""

    model: str | None = None
    truncate_prompt_tokens: Int | None = None
    truncation_side: Literal["left", "right"] | None = None
    use_activation: bool | None = None
    priority: Int = 0
    request_id: str | None = None
    cache_salt: str | None = None


class PromptFields(PoolingFields, kw_only=True, forbid_unknown_fields=True):
    """Exactly one of `input` and `messages`."""

    input: str | list[str | Int | list[Int]] | None = None
    messages: list[dict[str, Any]] | None = None
    add_special_tokens: bool | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool = False
    chat_template_kwargs: dict[str, Any] | None = None


class NumberFields(PromptFields, kw_only=True, forbid_unknown_fields=True):
    """The prompts, and how their numbers are written."""

    encoding_format: Literal["float", "base64", "bytes", "bytes_only"] = "float"
    embed_dtype: str = "float32"
    endianness: Literal["native", "little", "big"] = "native"


def table_of(struct: type[msgspec.Struct], **refused: Refusal) -> FieldTable:
    """The fields of a route: what its Struct has is taken."""
    taken = names_of(struct)
    known = {name: why for name, why in {**REFUSED, **refused}.items() if name not in taken}
    return FieldTable(taken=taken, harmless=HARMLESS, refused=known)
