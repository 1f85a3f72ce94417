"""A conversation to the prompt's text, by the model's chat template."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, Protocol

from quire.api.server.dialogue.ask import Ask
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
    documents: list[dict[str, str]] | None = None,
    chat_template: str | None = None,
) -> str:
    """`chat_template` is one that the request brings, if that is trusted. Raises UserError naming the field."""
    if chat_template is not None and not service.config.trust_request_chat_template:
        raise Unsupported(
            "chat_template is not taken from requests here; start the server with --trust-request-chat-template, or "
            "with --chat-template",
            field="chat_template",
        )
    adds_prompt = fields.add_generation_prompt
    if fields.continue_final_message and adds_prompt:
        raise InvalidValue(
            "continue_final_message and add_generation_prompt exclude each other",
            field="continue_final_message",
        )
    kwargs = {**service.config.default_chat_template_kwargs, **(fields.chat_template_kwargs or {})}
    if reasoning_effort is not None:
        kwargs |= _effort_variables(service, session, reasoning_effort)
    if documents is not None:
        if not template_reads(session, "documents") and "documents" not in (chat_template or ""):
            raise Unsupported(
                "documents is not supported: this model's chat template does not read it; put them into a message",
                field="documents",
            )
        kwargs["documents"] = documents
    return session.render_chat(
        messages if template_reads(session, "developer") else [_without_developer(one) for one in messages],
        tools=tools,
        chat_template=chat_template or "",
        add_generation_prompt=not fields.continue_final_message if adds_prompt is None else adds_prompt,
        continue_final_message=fields.continue_final_message,
        template_kwargs=kwargs,
    )


async def render_ask(service: Service, session: Session, ask: Ask) -> str:
    """A template that the request brings is rendered beside the event loop: it may use up its whole budget."""
    work = partial(
        render,
        service,
        session,
        ask,
        ask.messages,
        tools=ask.tools,
        reasoning_effort=ask.reasoning_effort,
        documents=ask.documents,
        chat_template=ask.chat_template,
    )
    return await asyncio.to_thread(work) if ask.chat_template is not None else work()


def _effort_variables(service: Service, session: Session, effort: str) -> dict[str, Any]:
    """Template variables of an effort: what --reasoning-effort-map says of it, else the word to a template that
    reads it; no other could make it effective."""
    mapped = service.config.reasoning_effort_map.get(effort, effort)
    if isinstance(mapped, dict):
        return mapped
    if not template_reads(session, "reasoning_effort"):
        raise Unsupported(
            "reasoning_effort is not supported: this model's chat template does not read it, and "
            "--reasoning-effort-map says nothing of it",
            field="reasoning_effort",
        )
    return {"reasoning_effort": mapped}


def _without_developer(message: dict[str, Any]) -> dict[str, Any]:
    """OpenAI's newer word for the system role, which few chat templates know."""
    return {**message, "role": "system"} if message["role"] == "developer" else message


def template_reads(session: Session, word: str) -> bool:
    """Whether a variable of this name means anything to the model's chat template."""
    sources = session.template.sources.values() if session.template else ()
    return any(word in source for source in sources)
