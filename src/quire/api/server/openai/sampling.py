"""From request fields to SamplingParams: what the request says, over the model's defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quire.api.server.openai.shared_fields import SAMPLING_FIELDS, GenerationFields
from quire.base.constraints import StructuredOutputsParams
from quire.base.errors import InvalidValue, Unsupported
from quire.base.messages import OutputKind, SamplingParams
from quire.text.session import BeamSearchParams, Session

# what changes logits, draws or ends in the middle of a search
_NOT_WITH_BEAMS = (
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "top_p",
    "top_k",
    "min_p",
    "logit_bias",
    "bad_words",
    "min_tokens",
    "stop",
    "stop_token_ids",
    "prompt_logprobs",
    "logprob_token_ids",
    "thinking_token_budget",
    "repetition_detection",
)
_DEFAULTS = {name: getattr(SamplingParams(), name) for name in _NOT_WITH_BEAMS}


def sampling_params(session: Session, fields: GenerationFields, own: Mapping[str, Any]) -> SamplingParams:
    """`own` holds what the route works out itself. Raises InvalidValue naming the field."""
    asked = {name: getattr(fields, name) for name in SAMPLING_FIELDS}
    asked["structured_outputs"] = structured_outputs(fields)
    asked["extra_args"] = fields.vllm_xargs
    return session.sampling_params({**asked, **own, "output_kind": OutputKind.DELTA})


def beam_params(
    session: Session, fields: GenerationFields, sampling: SamplingParams
) -> BeamSearchParams | None:
    """What `use_beam_search` asks for, None without. Raises UserError for fields that mean nothing to it."""
    if not fields.use_beam_search:
        if fields.length_penalty not in (None, 1.0):
            raise InvalidValue("length_penalty needs use_beam_search", field="length_penalty")
        return None
    if fields.stream:
        raise Unsupported(
            "stream is not supported with beam search: which tokens are in the answer is known at its end",
            field="stream",
        )
    for name in _NOT_WITH_BEAMS:
        if getattr(sampling, name) not in (None, _DEFAULTS[name]) and getattr(fields, name, None) is not None:
            raise Unsupported(f"{name} is not supported with beam search, which draws nothing", field=name)
    if sampling.structured_outputs is not None:
        raise Unsupported(
            "structured_outputs is not supported with beam search: grammars change what is likely; draw samples",
            field="structured_outputs",
        )
    assert sampling.max_tokens is not None
    params = BeamSearchParams(
        beam_width=sampling.n,
        max_tokens=sampling.max_tokens,
        ignore_eos=sampling.ignore_eos,
        temperature=fields.temperature or 0.0,
        length_penalty=1.0 if fields.length_penalty is None else fields.length_penalty,
        allowed_token_ids=sampling.allowed_token_ids,
    )
    params.step_sampling(sampling.logprobs or 0, session.config.max_logprobs)  # or refused now
    return params


def structured_outputs(fields: GenerationFields) -> StructuredOutputsParams | None:
    """What `response_format` or `structured_outputs` asks for. Raises InvalidValue when both do."""
    wanted = fields.response_format
    if wanted is None or wanted.type == "text":
        return fields.structured_outputs
    if fields.structured_outputs is not None:
        raise InvalidValue(
            "response_format and structured_outputs exclude each other", field="response_format"
        )
    if wanted.type == "json_object":
        return StructuredOutputsParams(json_object=True)
    if wanted.type == "json_schema":
        schema = wanted.json_schema.schema if wanted.json_schema else None
        if schema is None:
            raise InvalidValue(
                "response_format.json_schema.schema is required", field="response_format.json_schema.schema"
            )
        return StructuredOutputsParams(json=schema)
    parts = {"format": wanted.format, "structures": wanted.structures, "triggers": wanted.triggers}
    return StructuredOutputsParams(
        structural_tag={name: part for name, part in parts.items() if part is not None}
    )


def check_streaming(fields: GenerationFields) -> None:
    """The pairs of fields that contradict each other around streaming."""
    if fields.stream_options is not None and not fields.stream:
        raise InvalidValue("stream_options needs stream=true", field="stream_options")
    if fields.stream and fields.prompt_logprobs is not None:
        raise Unsupported(
            "prompt_logprobs comes with whole replies only; leave stream out", field="prompt_logprobs"
        )
