"""From a request's `input` or `messages` to prompts, and from prompts to their numbers."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from starlette.requests import Request

from quire.api.server.dialogue import render
from quire.api.server.disconnect import unless_disconnected
from quire.api.server.errors import SequenceFailed, Unavailable
from quire.api.server.fields import renamed
from quire.api.server.metrics import PoolingMeter
from quire.api.server.openai.conversation import read_messages
from quire.api.server.pooling.fields import PoolingFields, PromptFields
from quire.api.server.request_id import choose_request_id
from quire.api.server.service import DRAINING_RETRY_S, Service
from quire.base.errors import EngineDead, EngineFault, InvalidValue
from quire.base.messages import PoolingParams
from quire.text.pooling import Pooled, PooledPrompt, pool, prepare_pooling, with_text_prompt
from quire.text.session import Session

logger = logging.getLogger("quire.server")

MAX_PROMPTS = 2048  # OpenAI's
_THREAD_CHARS = 20_000  # tokenising more than this would hold the event loop for tens of milliseconds
Prompt = str | list[int] | tuple[str, str]


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request to a pooling route. `id` and `created` stand in its reply."""

    service: Service
    session: Session
    request: Request
    id: str
    created: int
    model: str

    def engine_id(self, number: int) -> str:
        return f"{self.id}-{number}-{uuid.uuid4().hex[:8]}"


@dataclass(frozen=True, slots=True)
class Prompts:
    """`adds_special_tokens`: those that a model wants around a text. A chat template writes its own, and the whole of
    what `is_rendered`."""

    bodies: Sequence[Prompt]
    adds_special_tokens: bool = True
    is_rendered: bool = False


def open_call(
    service: Service, session: Session, request: Request, fields: PoolingFields, *, prefix: str
) -> Call:
    """Raises NotFound (model) and InvalidValue (request_id)."""
    model = service.served_name(fields.model)
    request_id = choose_request_id(fields.request_id, request)
    return Call(service, session, request, f"{prefix}-{request_id}", int(time.time()), model)


def read_prompts(call: Call, fields: PromptFields) -> Prompts:
    if (fields.input is None) == (fields.messages is None):
        raise InvalidValue("send either input or messages", field="input")
    if fields.messages is not None:
        messages = read_messages(fields.messages)
        if fields.add_generation_prompt is None and not fields.continue_final_message:
            fields.add_generation_prompt = False  # nobody is to answer
        text = render(call.service, call.session, fields, messages, tools=None)
        return Prompts([text], bool(fields.add_special_tokens), is_rendered=True)
    return Prompts(prompts_of(fields.input), fields.add_special_tokens is not False)


def prompts_of(given: str | list[str | int | list[int]] | None, *, field: str = "input") -> list[Prompt]:
    """A text, a list of texts, a list of token ids, or a list of such lists."""
    if isinstance(given, str):
        return [given]
    if not given:
        raise InvalidValue(f"{field} must not be empty", field=field)
    kinds = set(map(type, given))
    if len(kinds) > 1:
        raise InvalidValue(
            f"{field} must be a text, a list of texts, a list of token ids, or a list of such lists",
            field=field,
        )
    if int in kinds:
        return [cast(list[int], given)]
    if len(given) > MAX_PROMPTS:
        raise InvalidValue(f"{field} may hold at most {MAX_PROMPTS} entries, got {len(given)}", field=field)
    return cast(list[Prompt], given)


async def prepare(
    call: Call,
    prompts: Prompts,
    pooling: PoolingParams,
    fields: PoolingFields,
    *,
    field: str = "input",
) -> list[PooledPrompt]:
    """Errors about a prompt name `field`. Long texts are tokenised beside the event loop."""

    bodies = prompts.bodies
    if not prompts.is_rendered:
        bodies = [with_text_prompt(body, pooling.task, call.session.config) for body in bodies]

    def prepare_all() -> list[PooledPrompt]:
        with renamed({"prompt": field}):
            return [
                prepare_pooling(
                    call.session,
                    prompt,
                    pooling,
                    request_id=call.engine_id(number),
                    priority=fields.priority,
                    cache_salt=fields.cache_salt or "",
                    add_special_tokens=prompts.adds_special_tokens,
                    truncation_side=fields.truncation_side or "right",
                )
                for number, prompt in enumerate(bodies)
            ]

    num_chars = sum(map(_num_chars, bodies))
    return await asyncio.to_thread(prepare_all) if num_chars > _THREAD_CHARS else prepare_all()


def _num_chars(prompt: Prompt) -> int:
    if isinstance(prompt, str):
        return len(prompt)
    return sum(map(len, prompt)) if isinstance(prompt, tuple) else 0


async def run(call: Call, prepared: Sequence[PooledPrompt]) -> list[Pooled]:
    """All prompts at once, their results in order; given up when the caller hangs up. Raises SequenceFailed,
    Unavailable, EngineDead, Overloaded."""
    call.service.admit([request for prompt in prepared for request in prompt.requests])
    with call.service.under_way():
        try:
            return await unless_disconnected(call.request.receive, _run_all(call, prepared))
        except EngineDead as error:
            if call.service.is_draining:
                raise Unavailable("The server is shutting down.", retry_after_s=DRAINING_RETRY_S) from error
            raise


async def _run_all(call: Call, prepared: Sequence[PooledPrompt]) -> list[Pooled]:
    """The first failure ends the others."""
    tasks = [asyncio.create_task(_run_one(call, prompt)) for prompt in prepared]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _run_one(call: Call, prompt: PooledPrompt) -> Pooled:
    assert call.session.client is not None
    meter = PoolingMeter(call.service.metrics, len(prompt.token_ids), prompt.requests[0].arrival_s)
    try:
        pooled = await pool(call.session.client, prompt)
        meter.done(pooled.times, pooled.num_cached_tokens)
        return pooled
    except EngineFault as error:
        meter.failed()
        if type(error) is EngineFault:
            logger.error("%s ended: %s", prompt.requests[0].request_id, error)
            raise SequenceFailed(str(error)) from error
        raise
    finally:
        meter.close()
