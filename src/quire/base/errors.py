"""The one tree of errors. User faults become 4xx replies or exit codes; engine faults become 5xx.

    QuireError
    ├── UserError            the caller can mend it           HTTP status on the instance (400)
    │   ├── InvalidValue     a field's value is not allowed   400
    │   ├── NotFound         unknown model, response ...      404
    │   ├── Unsupported      known field, refused by name     400
    │   └── Quarantined      it ended the engine twice        422
    ├── ConfigError          a setting or combination          exit 2
    ├── CheckpointError      model folder unusable             exit 1
    └── EngineFault          ours                             500
        ├── EngineDead       the engine process is gone       503
        ├── EngineAsleep     it gave its memory back          503
        ├── CommandFailed    an administrator's command failed 500
        └── Overloaded       admission limit reached          503 + Retry-After

A message says what was given, what is allowed and what to do.
"""

from __future__ import annotations


class QuireError(Exception):
    """Root of every error Quire raises on purpose."""


class UserError(QuireError):
    """The caller's fault. `field` names the offending request field or setting, `status` the HTTP reply."""

    status = 400
    code = "invalid_request_error"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class InvalidValue(UserError):
    """A field holds a value outside what is allowed."""


class NotFound(UserError):
    """The named thing (model, response, adapter) does not exist here."""

    status = 404
    code = "not_found_error"


class Unsupported(UserError):
    """A field or value Quire knows and refuses by name."""

    code = "unsupported"


class Quarantined(UserError):
    """The request ended the engine process twice; nothing like it is taken for a while."""

    status = 422
    code = "request_quarantined"


class ConfigError(QuireError):
    """A setting, or a combination of settings, this machine or model cannot run. Exit code 2."""

    exit_code = 2

    def __init__(self, message: str, *, setting: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.setting = setting


class CheckpointError(QuireError):
    """A model folder that is missing, incomplete, damaged or not understood. Exit code 1."""

    exit_code = 1


class EngineFault(QuireError):
    """Our fault: the request was fine."""

    status = 500
    code = "internal_server_error"


class EngineDead(EngineFault):
    """The engine process ended or no longer answers."""

    status = 503
    code = "service_unavailable"


class EngineAsleep(EngineFault):
    """The engine sleeps and requests are refused until it is woken."""

    status = 503
    code = "engine_asleep"


class CommandFailed(EngineFault):
    """A command to the engine could not be carried out. Its message goes to the administrator who gave it."""

    code = "command_failed"


class Overloaded(EngineFault):
    """Admission limit reached; try again after `retry_after_s` seconds."""

    status = 503
    code = "service_unavailable"

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
