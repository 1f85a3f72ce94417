"""Commands: what a running engine can be told to do between two steps, each with what its answer carries.

Whoever administers an engine asks, the engine answers (`Ask` and `Answer` in wire.py, `EngineCore.answer`). A command
that cannot be carried out is answered with an error and has changed nothing.
"""

from __future__ import annotations

from typing import Generic, TypeAlias, TypeVar

import msgspec

T_co = TypeVar("T_co", covariant=True)


class Command(msgspec.Struct, Generic[T_co], frozen=True):
    """`Command[T]` is answered with a T, which msgpack can carry."""


class ResetPrefixes(Command[bool], frozen=True, tag="reset_prefixes"):
    """Empty the prefix cache: prompts that begin like earlier ones are computed anew. `with_running` also takes
    what requests under way have computed; they compute it again. Answered with whether the cache is empty."""

    with_running: bool = False


AnyCommand: TypeAlias = ResetPrefixes
