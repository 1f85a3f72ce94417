"""What every reply and chunk of one HTTP request carries: id, time, model, fingerprint; and its id in the engine."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass

from starlette.requests import Request

from quire.api.server.openai.shared_fields import GenerationFields
from quire.api.server.request_id import choose_request_id
from quire.api.server.service import Service


@dataclass(frozen=True, slots=True)
class ReplyHead:
    id: str
    created: int
    model: str
    fingerprint: str | None

    def engine_id(self, number: int) -> str:
        """Of prompt `number`. Unique even when callers repeat a request id, so that none aborts another's."""
        return f"{self.id}-{number}-{uuid.uuid4().hex[:8]}"


def reply_head(service: Service, request: Request, fields: GenerationFields, *, prefix: str) -> ReplyHead:
    """Raises NotFound (model) and InvalidValue (request_id)."""
    return new_head(service, request, fields.model, fields.request_id, prefix=prefix)


def new_head(
    service: Service, request: Request, asked_model: str | None, asked_id: str | None, *, prefix: str
) -> ReplyHead:
    """For what a request says of its model and id. Raises NotFound and InvalidValue."""
    model = service.served_name(asked_model)
    request_id = choose_request_id(asked_id, request)
    return ReplyHead(f"{prefix}-{request_id}", int(time.time()), model, service.fingerprint)
