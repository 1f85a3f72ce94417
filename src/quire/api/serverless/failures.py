"""Errors of a job, in the form that makes the platform mark it FAILED."""

from __future__ import annotations

import json
from typing import Any

from quire.base.errors import QuireError

UNHEALTHY = "vLLM server process is not running; worker is unhealthy"


class JobError(QuireError):
    """What a job's caller is told. `code` is a word or an HTTP status."""

    def __init__(
        self,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | int | None = 400,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind
        self.param = param
        self.code = code

    def detail(self) -> dict[str, Any]:
        return {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}

    def item(self) -> dict[str, str]:
        """The item that ends the job. The platform shows str() of the value: JSON text stays JSON."""
        return {"error": json.dumps(self.detail(), ensure_ascii=False)}


class ServerLost(JobError):
    """The local server went away while it worked on the job (or cannot be reached at all)."""

    def __init__(self, message: str = UNHEALTHY) -> None:
        super().__init__(message, kind="worker_error", code=503)
