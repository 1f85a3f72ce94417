"""POST /v1/responses: whole, streamed, or in the background while the caller does something else."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.types import ASGIApp

from quire.api.server.body import read_request
from quire.api.server.dialogue import fitted, prepare_dialogue
from quire.api.server.disconnect import unless_disconnected
from quire.api.server.fields import renamed
from quire.api.server.openai.reply_head import ReplyHead
from quire.api.server.replies import json_reply
from quire.api.server.request_id import choose_request_id
from quire.api.server.responses.asking import make_ask, names_for, sampling_for
from quire.api.server.responses.input_items import listed_items, read_input
from quire.api.server.responses.protocol import RESPONSES_FIELDS, PromptFields, ResponsesRequest
from quire.api.server.responses.reply_types import Response
from quire.api.server.responses.store import ResponseStore, StoredResponse
from quire.api.server.responses.writing import EventLog, ResponseCall, new_response, write_response
from quire.api.server.service import Service
from quire.api.server.streaming import StreamedReply
from quire.base.errors import InvalidValue, QuireError, Unsupported
from quire.text.session import Session

logger = logging.getLogger("quire.server")

_STORE_HINT = "this server stores nothing; start it with VLLM_ENABLE_RESPONSES_API_STORE=1"


async def create_response(store: ResponseStore, service: Service, request: Request) -> ASGIApp:
    session = service.generating_session()
    service.admit()  # before the body is read
    fields = await read_request(request, ResponsesRequest, RESPONSES_FIELDS)
    call = await _prepare(store, service, session, fields, request)
    service.admit([call.dialogue.prepared.request])
    if fields.background:
        return _in_background(store, service, session, call)
    if fields.stream:
        return StreamedReply(service, _events(store, service, session, call), ending=b"")
    with service.under_way():
        work = _whole(store, service, session, call)
        return json_reply(await unless_disconnected(request.receive, work))


def followed(service: Service, stored: StoredResponse, starting_after: int) -> StreamedReply:
    """A stream of what a background response comes to, which goes on when its reader leaves."""
    return StreamedReply(service, stored.follow(starting_after), ending=b"", is_work=False)


async def _prepare(
    store: ResponseStore, service: Service, session: Session, fields: ResponsesRequest, request: Request
) -> ResponseCall:
    model = service.served_name(fields.model)
    stores = _stores(store, fields)
    # an id of the caller's own is taken; one that a proxy put into the header may come twice
    response_id = "resp_" + (
        choose_request_id(fields.request_id, request) if fields.request_id else uuid.uuid4().hex
    )
    store.check_new(response_id)
    messages, items = conversation(store, fields)
    head = ReplyHead(response_id, 0, model, service.fingerprint)
    ask = make_ask(
        fields,
        messages,
        sampling_for(session, fields),
        request_id=head.engine_id(0),
        priority=fields.priority,
        cache_salt=fields.cache_salt or "",
        is_streamed=fields.stream,
    )
    with renamed(names_for(fields)):
        if fields.truncation == "auto":
            ask = await fitted(service, session, ask)
        dialogue = await prepare_dialogue(service, session, ask)
    response = new_response(fields, dialogue, response_id=response_id, model=model, stores=stores)
    log = EventLog(is_read=fields.stream or fields.background)
    return ResponseCall(fields, messages, items, dialogue, response, log)


def _stores(store: ResponseStore, fields: ResponsesRequest) -> bool:
    if fields.background and fields.store is False:
        raise InvalidValue("background needs store: what is not stored cannot be fetched", field="background")
    for name in ("store", "background"):
        if getattr(fields, name) and not store.is_enabled:
            raise Unsupported(f"{name} is not supported: {_STORE_HINT}", field=name)
    return store.is_enabled and fields.store is not False


def conversation(
    store: ResponseStore, fields: PromptFields
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The messages that lead to the answer and the items they were: `previous_response_id`'s conversation, its answer
    included, then `input`."""
    messages = read_input(fields.input)
    items = listed_items(fields.input) if store.is_enabled else []
    if fields.previous_response_id is None:
        return messages, items
    stored = store.get(fields.previous_response_id, field="previous_response_id")
    if stored.response.status not in ("completed", "incomplete"):
        raise InvalidValue(
            f"previous_response_id: that response is {stored.response.status}; only a finished one has an answer",
            field="previous_response_id",
        )
    answer = msgspec.to_builtins(stored.response.output)
    earlier = [*stored.messages, *(read_input(answer) if answer else [])]
    return [*earlier, *messages], [*stored.items, *answer, *items]


async def _whole(store: ResponseStore, service: Service, session: Session, call: ResponseCall) -> Response:
    async with aclosing(write_response(service, session, call)) as steps:
        async for _ in steps:
            pass
    _keep(store, call)
    return call.response


async def _events(
    store: ResponseStore, service: Service, session: Session, call: ResponseCall
) -> AsyncGenerator[bytes, None]:
    try:
        async with aclosing(write_response(service, session, call)) as steps:
            async for _ in steps:
                if call.log.events:
                    yield call.log.take()
    except Exception as error:  # noqa: BLE001  told in the stream, whatever it was
        _note_failure(call, error)
        yield call.log.take()
    else:
        _keep(store, call)


def _keep(store: ResponseStore, call: ResponseCall) -> None:
    if call.response.store:
        store.put(StoredResponse(call.response, call.messages, call.items, EventLog(is_read=False)))


def _note_failure(call: ResponseCall, error: Exception) -> None:
    if not isinstance(error, QuireError):
        logger.exception("response %s failed", call.response.id, exc_info=error)
    call.fail(error)


def _in_background(store: ResponseStore, service: Service, session: Session, call: ResponseCall) -> ASGIApp:
    stored = StoredResponse(call.response, call.messages, call.items, call.log)
    store.put(stored)
    reply = json_reply(call.response)
    stored.task = asyncio.create_task(_run(store, service, session, call, stored))
    return followed(service, stored, -1) if call.fields.stream else reply


async def _run(
    store: ResponseStore, service: Service, session: Session, call: ResponseCall, stored: StoredResponse
) -> None:
    """Writes on whoever listens, until it is done or cancelled."""
    try:
        with service.under_way():
            async with aclosing(write_response(service, session, call)) as steps:
                async for _ in steps:
                    stored.note_change()
    except asyncio.CancelledError:
        call.response.status = "cancelled"
    except Exception as error:  # noqa: BLE001  told to whoever asks for the response
        _note_failure(call, error)
    finally:
        stored.task = None
        if not stored.is_dropped:
            store.put(stored)
        stored.note_change()
