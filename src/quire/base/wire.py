"""The protocol between the API process and the engine process: tagged msgpack Structs, one per message."""

from __future__ import annotations

from typing import Any

import msgspec

from quire.base.commands import AnyCommand
from quire.base.config import EngineConfig
from quire.base.errors import EngineFault, UserError
from quire.base.messages import EngineRequest, EngineStats, TokenEvent


class Configure(msgspec.Struct, frozen=True, tag="configure"):
    """First message down: load this."""

    config: EngineConfig


class Submit(msgspec.Struct, frozen=True, tag="submit"):
    request: EngineRequest


class Abort(msgspec.Struct, frozen=True, tag="abort"):
    """Give up a request, or with `index` one sample of it."""

    request_id: str
    index: int | None = None


class Pause(msgspec.Struct, frozen=True, tag="pause"):
    """Nobody reads what a request says: go on with others until `Resume`."""

    request_id: str


class Resume(msgspec.Struct, frozen=True, tag="resume"):
    request_id: str


class Ask(msgspec.Struct, frozen=True, tag="ask"):
    """Carry this out between two steps, and answer under the same `ask_id`."""

    ask_id: int
    command: AnyCommand


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """End the engine process now; streams still running end with "abort"."""


class Loading(msgspec.Struct, frozen=True, tag="loading"):
    """How far the weights are."""

    done_bytes: int
    total_bytes: int


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The engine takes requests. `split_s` says where the start-up time went, in order."""

    split_s: dict[str, float]
    providers: list[str]  # one line per op: who runs it and why
    extra_arguments: list[str] = []  # names that requests may use for logits processors


class Events(msgspec.Struct, frozen=True, tag="events"):
    """News of one step."""

    events: list[TokenEvent]
    stats: EngineStats


class Problem(msgspec.Struct, frozen=True):
    """Why a command was not carried out; `is_callers` where it asked for what is not allowed, in `field` if any."""

    message: str
    field: str | None = None
    is_callers: bool = False


class Answer(msgspec.Struct, frozen=True, kw_only=True, tag="answer"):
    """What came of an Ask: the command's value, or the problem. `stats` stand as it left them."""

    ask_id: int
    stats: EngineStats
    value: Any = None
    problem: Problem | None = None


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The engine gives up: `kind` is the error's class name in base/errors."""

    kind: str
    message: str


Downward = Configure | Submit | Abort | Pause | Resume | Ask | Stop
Upward = Loading | Ready | Events | Answer | Failed


class Codec:
    """Encodes and decodes one side's messages; anything that is not exactly of the schema is refused."""

    def __init__(self, incoming: object) -> None:
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder: msgspec.msgpack.Decoder[object] = msgspec.msgpack.Decoder(incoming)

    def encode(self, message: Downward | Upward) -> bytes:
        return self._encoder.encode(message)

    def decode(self, frame: bytes) -> object:
        try:
            return self._decoder.decode(frame)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, UserError) as error:
            raise EngineFault(f"internal message refused: {error}") from error
