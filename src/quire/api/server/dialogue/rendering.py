"""A conversation to the prompt's text, by the model's chat template."""

from __future__ import annotations

from typing import Any, Protocol

from quire.api.server.service import Service
from quire.base.errors import InvalidValue, Unsupported
from quire.text.session import Session


class TemplateFields(Protocol):
    """What the routes that take a conversation have in common."""

    @property
    def add_generation_prompt(self) -> bool | None: ...
    @property
    def continue_final_message(self) -> bool: ...
    @property
    def chat_template_kwargs(self) -> dict[str, Any] | None: ...


def render(
    service: Service,
    session: Session,
    fields: TemplateFields,
    messages: list[dict[str, Any]],
    *,
    tools: list[dict[str, Any]] | None,
    reasoning_effort: str | None = None,
) -> str:
    """Raises UserError naming the field."""
    adds_prompt = fields.add_generation_prompt
    if fields.continue_final_message and adds_prompt:
        raise InvalidValue(
            "continue_final_message and add_generation_prompt exclude each other",
            field="continue_final_message",
        )
    kwargs = {**service.config.default_chat_template_kwargs, **(fields.chat_template_kwargs or {})}
    if reasoning_effort is not None:
        kwargs["reasoning_effort"] = _reasoning_effort(session, reasoning_effort)
    return session.render_chat(
        messages if template_reads(session, "developer") else [_without_developer(one) for one in messages],
        tools=tools,
        add_generation_prompt=not fields.continue_final_message if adds_prompt is None else adds_prompt,
        continue_final_message=fields.continue_final_message,
        template_kwargs=kwargs,
    )


def _reasoning_effort(session: Session, effort: str) -> str:
    """Only a template that reads it can make it effective."""
    if not template_reads(session, "reasoning_effort"):
        raise Unsupported(
            "reasoning_effort is not supported: this model's chat template does not read it",
            field="reasoning_effort",
        )
    return effort


def _without_developer(message: dict[str, Any]) -> dict[str, Any]:
    """OpenAI's newer word for the system role, which few chat templates know."""
    return {**message, "role": "system"} if message["role"] == "developer" else message


def template_reads(session: Session, word: str) -> bool:
    """Whether a variable of this name means anything to the model's chat template."""
    sources = session.template.sources.values() if session.template else ()
    return any(word in source for source in sources)
