"""UniprocExecutor: the worker lives in the caller's process, on one device."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import torch

from quire.base.commands import (
    CallWorker,
    Command,
    FreeKV,
    Sleep,
    StartProfile,
    StopProfile,
    WakeUp,
)
from quire.base.config import EngineConfig
from quire.base.constraints import Constraint
from quire.base.errors import InvalidValue
from quire.base.messages import StepPlan, StepResult
from quire.model.kernels import configure
from quire.model.ops import explain
from quire.worker.executor.heap import keep_freed_memory
from quire.worker.executor.profiler import StepProfiler
from quire.worker.executor.worker import worker_class

T = TypeVar("T")


class UniprocExecutor:
    """Loads on construction (`report(done_bytes, total_bytes)` meanwhile), then runs plans in order.

    `split_s` says where loading spent its seconds, `extra_arguments` what requests may say to logits processors.
    """

    def __init__(self, config: EngineConfig, report: Callable[[int, int], None] | None = None) -> None:
        keep_freed_memory()
        if config.num_threads:
            torch.set_num_threads(config.num_threads)
        configure(config.num_threads, config.native_isa)
        self.worker = worker_class(config)(config, report)
        self.split_s = self.worker.split_s
        self.extra_arguments = self.worker.extra_arguments
        self._profiler = StepProfiler(config.profiler)
        self._rows: dict[type[Command[Any]], Callable[[Any], Any]] = {
            FreeKV: lambda _: self.worker.free_kv(),
            Sleep: lambda command: self.worker.sleep(command.level),
            WakeUp: lambda _: self.worker.wake_up(),
            CallWorker: self._call,
            StartProfile: self._profiler.start,
            StopProfile: lambda _: self._profiler.stop(),
        }

    def execute(self, plan: StepPlan) -> StepResult:
        if not self._profiler.is_on:
            return self.worker.execute(plan)
        with self._profiler.step(plan.step_id, plan.num_tokens), self.worker.runner.as_written():
            return self.worker.execute(plan)

    def prepare(self, constraint: Constraint) -> Future[Any]:
        return self.worker.prepare(constraint)

    def answer(self, command: Command[T]) -> T:
        """Carries out one of commands.WorkerCommand; raises before it changes anything."""
        answer: T = self._rows[type(command)](command)
        return answer

    def providers(self) -> list[str]:
        """One line per op, who runs it and why, and one for the whole forward pass."""
        lines = [
            f"{choice.op}: {'; '.join((f'{choice.provider} {choice.variant}'.strip(), *choice.refusals))}"
            for choice in explain()
        ]
        return [*lines, f"forward: {self.worker.runner.forward_explained}"]

    def _call(self, command: CallWorker) -> Any:
        method = getattr(self.worker, command.method, None)
        if command.method.startswith("_") or not callable(method):
            raise InvalidValue(
                f"method: the worker has no public method {command.method[:100]!r}; --worker-extension-cls adds "
                "methods",
                field="method",
            )
        return method(*command.args, **command.kwargs)
