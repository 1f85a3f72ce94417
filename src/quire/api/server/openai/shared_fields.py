"""The request fields chat and text completions have in common, and the known fields both refuse.

`GenerationFields` is only a list of names and JSON types; ranges are checked once, in SamplingParams and the
text session. None means "left out".
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from quire.api.server.fields import Refusal
from quire.base.constraints import StructuredOutputsParams
from quire.base.messages import RepetitionDetection

Int = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]  # what fits the engine's msgpack
Float = float
ExtraArgument = str | bool | Int | Float | list[str | bool | Int | Float] | None


class StreamOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    include_usage: bool = False
    continuous_usage_stats: bool = False


class JsonSchemaFormat(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """OpenAI's envelope of a schema. `strict` asks for what always happens."""

    name: str
    schema: dict[str, Any] | bool | None = None
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`json_schema` belongs to its type, the last three to structural_tag."""

    type: Literal["text", "json_object", "json_schema", "structural_tag"]
    json_schema: JsonSchemaFormat | None = None
    format: dict[str, Any] | None = None
    structures: list[dict[str, Any]] | None = None
    triggers: list[str] | None = None


class GenerationFields(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """OpenAI's sampling and streaming fields, then vLLM's additions."""

    model: str | None = None
    n: Int | None = None
    max_tokens: Int | None = None
    temperature: Float | None = None
    top_p: Float | None = None
    presence_penalty: Float | None = None
    frequency_penalty: Float | None = None
    logit_bias: dict[Int, Float] | None = None
    seed: Int | None = None
    stop: str | list[str] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None

    top_k: Int | None = None
    min_p: Float | None = None
    repetition_penalty: Float | None = None
    stop_token_ids: list[Int] | None = None
    include_stop_str_in_output: bool | None = None
    ignore_eos: bool | None = None
    min_tokens: Int | None = None
    skip_special_tokens: bool | None = None
    spaces_between_special_tokens: bool | None = None
    truncate_prompt_tokens: Int | None = None
    prompt_logprobs: Int | None = None
    allowed_token_ids: list[Int] | None = None
    bad_words: list[str] | None = None
    truncation_side: Literal["left", "right"] | None = None
    logprob_token_ids: list[Int] | None = None
    add_special_tokens: bool | None = None
    use_beam_search: bool = False
    length_penalty: Float | None = None
    thinking_token_budget: Int | None = None
    repetition_detection: RepetitionDetection | None = None
    stream_interval: Int | None = None
    prompt_logprob_token_ids: list[Int] | None = None
    prompt_logprob_start: Int | None = None
    skip_reading_prefix_cache: bool | None = None
    priority: Int = 0
    request_id: str | None = None
    cache_salt: str | None = None
    structured_outputs: StructuredOutputsParams | None = None
    response_format: ResponseFormat | None = None
    return_tokens_as_token_ids: bool = False
    return_token_ids: bool = False
    vllm_xargs: dict[str, ExtraArgument] | None = None


# SamplingParams fields whose request field has the same name and meaning
SAMPLING_FIELDS = (
    "n",
    "max_tokens",
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "seed",
    "stop",
    "top_k",
    "min_p",
    "repetition_penalty",
    "stop_token_ids",
    "include_stop_str_in_output",
    "ignore_eos",
    "min_tokens",
    "skip_special_tokens",
    "spaces_between_special_tokens",
    "truncate_prompt_tokens",
    "prompt_logprobs",
    "allowed_token_ids",
    "bad_words",
    "truncation_side",
    "logprob_token_ids",
    "thinking_token_budget",
    "repetition_detection",
    "stream_interval",
    "prompt_logprob_token_ids",
    "prompt_logprob_start",
    "skip_reading_prefix_cache",
)

# No effect on the answer by definition: labels for the caller's own books, hints for a cache.
HARMLESS: dict[str, type] = {
    "user": str,
    "metadata": dict,
    "safety_identifier": str,
    "prompt_cache_key": str,
    "session_id": str,  # where to route a request; there is one engine, which finds a shared prefix by itself
}

_TRANSFER = "keys and values are not moved between servers"

REFUSED: dict[str, Refusal] = {
    "best_of": Refusal("every sample drawn is returned; use n", unless=(1,)),
    "store": Refusal("nothing is stored on this server", unless=(False,)),
    "service_tier": Refusal("there is one tier", unless=("auto", "default")),
    "prompt_cache_retention": Refusal("prefixes stay cached as long as memory lasts", unless=("in_memory",)),
    **{
        f"guided_{name}": Refusal(f'vLLM 0.33 no longer has it; send structured_outputs: {{"{name}": …}}')
        for name in ("json", "regex", "choice", "grammar", "whitespace_pattern")
    },
    "guided_decoding_backend": Refusal("the server chooses, with --structured-outputs-config.backend"),
    "early_stopping": Refusal("a beam search ends when no better beam can be found", unless=(False,)),
    "detokenize": Refusal("this route answers in text; add return_token_ids for ids", unless=(True,)),
    "flat_logprobs": Refusal("it is about Python objects; a reply has its own shape", unless=(False,)),
    "extra_args": Refusal("here the field is called vllm_xargs"),
    "trace_decode_token_ids": Refusal("tokens are the model's own; nothing is replayed from a trace"),
    "skip_clone": Refusal("it is about Python objects; a request has one meaning", unless=(False,)),
    "kv_transfer_params": Refusal(_TRANSFER),
    "ec_transfer_params": Refusal(_TRANSFER),
    "watermarking": Refusal("outputs carry no watermark"),
    "return_weight_versions": Refusal("weights do not change while the server runs", unless=(False,)),
    "routed_experts_prompt_start": Refusal("expert routing is not reported", unless=(0,)),
    "return_token_offsets": Refusal(
        "a prompt's are told by …/render, a reply's by completions' logprobs.text_offset", unless=(False,)
    ),
    "mm_payload": Refusal("this model takes text only"),
}


def names_of(struct: type[msgspec.Struct]) -> tuple[str, ...]:
    """The JSON names of a Struct's fields."""
    return struct.__struct_encode_fields__
