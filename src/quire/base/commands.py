"""Commands: what a running engine can be told to do between two steps, each with what its answer carries.

Whoever administers an engine asks, the engine answers (`Ask` and `Answer` in wire.py, `EngineCore.answer`). A command
that cannot be carried out is answered with an error and has changed nothing.
"""

from __future__ import annotations

from typing import Any, Generic, Literal, TypeAlias, TypeVar

import msgspec

T_co = TypeVar("T_co", covariant=True)
Part: TypeAlias = Literal["weights", "kv_cache"]
PARTS: tuple[Part, ...] = ("weights", "kv_cache")  # of the memory that a sleeping engine gives back
SLEEP_IS_OFF = (
    "this engine was started without --enable-sleep-mode; start it with that option to let it sleep"
)
PROFILER_IS_OFF = (
    "this engine was started without a profiler; start it with --profiler-config.profiler torch and "
    "--profiler-config.torch_profiler_dir FOLDER"
)


class Command(msgspec.Struct, Generic[T_co], frozen=True):
    """`Command[T]` is answered with a T, which msgpack can carry."""


class Hold(Command[None], frozen=True, tag="hold"):
    """Compute nothing until `Release`: requests under way stop where they are."""


class Release(Command[None], frozen=True, tag="release"):
    """Go on computing, unless memory is missing."""


class ResetPrefixes(Command[bool], frozen=True, tag="reset_prefixes"):
    """Empty the prefix cache: prompts that begin like earlier ones are computed anew. `with_running` also takes
    what requests under way have computed; they compute it again. Answered with whether the cache is empty."""

    with_running: bool = False


class FreeKV(Command[None], frozen=True, tag="free_kv"):
    """Give the memory of all KV blocks back to the system; requests under way compute theirs again. The pool stays as
    large as it is and takes memory anew as blocks are used."""


class Sleep(Command[None], frozen=True, tag="sleep"):
    """Give back the memory of weights and KV blocks, and compute nothing until all parts are back.

    After level 1 the system may keep the weight files' pages; level 2 asks it to drop them, and drops compiled
    grammars, too.
    """

    level: Literal[1, 2] = 1


class WakeUp(Command[None], frozen=True, tag="wake_up"):
    """Bring parts back: weights are loaded as at the start. Raises where they cannot be, and then sleeps on."""

    parts: list[Part]


class CallWorker(Command[Any], frozen=True, tag="call_worker"):
    """Call a method of the worker, which `--worker-extension-cls` may have added. Answered with what it returns."""

    method: str
    args: list[Any] = []
    kwargs: dict[str, Any] = {}


class ProfilerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Torch's profiler over the engine's steps: traces go into `folder`. The first `delay_iterations` steps after a
    start are left out; `max_iterations` 0 is no end. A positive `wait_iterations` or `warmup_iterations` makes a
    schedule: that many steps idle, that many warming up, then `active_iterations` recorded."""

    folder: str
    with_stack: bool = True
    with_flops: bool = False
    with_memory: bool = False
    record_shapes: bool = False
    use_gzip: bool = True
    delay_iterations: int = 0
    max_iterations: int = 0
    wait_iterations: int = 0
    warmup_iterations: int = 0
    active_iterations: int = 5


class StartProfile(Command[None], frozen=True, tag="start_profile"):
    """Record from the step after the next `delay_iterations` ones, and at most `max_iterations` steps (0: until
    `StopProfile`). None is what the engine was started with."""

    prefix: str = ""
    delay_iterations: int | None = None
    max_iterations: int | None = None


class StopProfile(Command[str], frozen=True, tag="stop_profile"):
    """Write what was recorded. Answered with the trace's path, empty when no step was recorded."""


WorkerCommand: TypeAlias = FreeKV | Sleep | WakeUp | CallWorker | StartProfile | StopProfile
AnyCommand: TypeAlias = Hold | Release | ResetPrefixes | WorkerCommand
