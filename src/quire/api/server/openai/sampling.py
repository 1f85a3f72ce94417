"""From request fields to SamplingParams: what the request says, over the model's defaults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from quire.api.server.openai.shared_fields import SAMPLING_FIELDS, GenerationFields
from quire.base.constraints import StructuredOutputsParams
from quire.base.errors import InvalidValue, Unsupported, UserError
from quire.base.messages import OutputKind, SamplingParams
from quire.text.session import Session


def sampling_params(session: Session, fields: GenerationFields, own: Mapping[str, Any]) -> SamplingParams:
    """`own` holds what the route works out itself. Raises InvalidValue naming the field."""
    asked = {name: getattr(fields, name) for name in SAMPLING_FIELDS}
    asked["structured_outputs"] = structured_outputs(fields)
    asked["extra_args"] = fields.vllm_xargs
    return session.sampling_params({**asked, **own, "output_kind": OutputKind.DELTA})


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


@contextmanager
def renamed(names: Mapping[str, str]) -> Iterator[None]:
    """Errors about a field speak of it by the name this route gives it."""
    try:
        yield
    except UserError as error:
        name = names.get(error.field or "")
        if name is not None:
            error.message = error.message.replace(error.field or "", name, 1)
            error.field = name
        raise
