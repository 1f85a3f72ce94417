"""StepProfiler: torch's profiler around the engine's steps, from a start to a trace file."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import profiler

from quire.base.commands import PROFILER_IS_OFF, ProfilerConfig, StartProfile
from quire.base.errors import CommandFailed, InvalidValue
from quire.model.profiling import named_ops

logger = logging.getLogger(__name__)


class StepProfiler:
    """Between `start` and `stop` each step that is to be recorded runs within `step`.

    With a limit of steps the trace is written when it is reached; `stop` then only tells its path.
    """

    def __init__(self, config: ProfilerConfig | None) -> None:
        self._config = config
        self._running: profiler.profile | None = None
        self._is_started = False
        self._prefix = ""
        self._num_to_skip = 0
        self._num_left: int | None = None  # None: no limit
        self._path = ""

    @property
    def is_on(self) -> bool:
        """Whether `step` wants to hear of the next one."""
        return self._is_started

    def start(self, command: StartProfile) -> None:
        """Raises InvalidValue where no profiler is configured, or it runs already."""
        if self._config is None:
            raise InvalidValue(PROFILER_IS_OFF, field="profiler_config")
        if self._is_started:
            raise InvalidValue("a profile is being taken already; stop it first")
        if not command.prefix.replace("-", "").replace("_", "").replace(".", "").isalnum() and command.prefix:
            raise InvalidValue(
                "profile_prefix may hold letters, digits, dots, dashes and underscores",
                field="profile_prefix",
            )
        delay, most = command.delay_iterations, command.max_iterations
        try:
            Path(self._config.folder).mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise CommandFailed(f"{self._config.folder} cannot be made ({problem.strerror})") from None
        self._num_to_skip = self._config.delay_iterations if delay is None else delay
        self._num_left = (self._config.max_iterations if most is None else most) or None
        self._prefix = command.prefix or "quire"
        self._path = ""
        self._is_started = True

    def stop(self) -> str:
        """The trace's path; empty when no step was recorded. Raises InvalidValue when nothing was started."""
        if not (self._is_started or self._path):
            raise InvalidValue("no profile is being taken; start one first")
        self._finish()
        path, self._path = self._path, ""
        return path

    @contextmanager
    def step(self, number: int, num_tokens: int) -> Iterator[None]:
        """Record what happens within, unless steps are to be left out first."""
        if self._num_to_skip:
            self._num_to_skip -= 1
            yield
            return
        if self._running is None:
            self._running = self._new()
            self._running.start()
        with named_ops(), profiler.record_function(f"step {number}: {num_tokens} tokens"):
            yield
        try:
            self._count_step(self._running)
        except Exception as problem:  # the step is made: a trace that fails must not undo it
            self._running, self._is_started = None, False
            logger.exception("the profile ended: %s", type(problem).__name__)

    def _count_step(self, running: profiler.profile) -> None:
        running.step()
        if self._num_left is not None:
            self._num_left -= 1
            if not self._num_left:
                self._finish()

    def _new(self) -> profiler.profile:
        config = self._config
        assert config is not None
        schedule = None
        if config.wait_iterations or config.warmup_iterations:
            schedule = profiler.schedule(
                wait=config.wait_iterations,
                warmup=config.warmup_iterations,
                active=config.active_iterations,
                repeat=1,
            )
        return profiler.profile(
            activities=[profiler.ProfilerActivity.CPU],
            schedule=schedule,
            on_trace_ready=self._write,
            record_shapes=config.record_shapes,
            profile_memory=config.with_memory,
            with_stack=config.with_stack,
            with_flops=config.with_flops,
        )

    def _write(self, profile: profiler.profile) -> None:
        assert self._config is not None
        suffix = ".gz" if self._config.use_gzip else ""
        name = f"{self._prefix}.{time.time_ns()}.pt.trace.json{suffix}"
        self._path = str(Path(self._config.folder) / name)
        profile.export_chrome_trace(self._path)
        logger.info("profile written to %s", self._path)

    def _finish(self) -> None:
        running, self._running = self._running, None
        self._is_started = False
        if running is not None:
            running.stop()  # which writes the trace, unless a schedule has ended and written it
