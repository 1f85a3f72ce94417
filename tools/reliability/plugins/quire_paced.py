"""An engine of fixed speed, to measure what is around it: every step takes QUIRE_PACE_MS and says a known token.

In no release, and without effect unless VLLM_PLUGINS names it. The token is 300 plus the position modulo
QUIRE_PACE_PERIOD (500).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from quire.base.config import EngineConfig
from quire.base.messages import SampledRow, StepPlan, StepResult


class PacedExecutor:
    """Stands for the worker: same plans, same results, no model."""

    def __init__(self, config: EngineConfig, report: Callable[[int, int], None] | None = None) -> None:
        self._step_s = float(os.environ.get("QUIRE_PACE_MS", "100")) / 1000
        self._period = int(os.environ.get("QUIRE_PACE_PERIOD", "500"))
        self._due_s = 0.0
        self.split_s: dict[str, float] = {}
        self.extra_arguments: list[str] = []
        if report is not None:
            report(config.card.weight_bytes, config.card.weight_bytes)

    def execute(self, plan: StepPlan) -> StepResult:
        """Steps begin a fixed time apart, so that the engine's own work between them is part of the pace."""
        now_s = time.monotonic()
        self._due_s = max(self._due_s + self._step_s, now_s)
        time.sleep(self._due_s - now_s)
        rows = [
            SampledRow(
                sequence_id=chunk.sequence_id, sample_index=index, token_ids=[300 + chunk.end % self._period]
            )
            for chunk in plan.chunks
            for index in range(chunk.num_samples)
        ]
        return StepResult(step_id=plan.step_id, rows=rows)

    def providers(self) -> list[str]:
        return ["every op: none, tokens come at a fixed pace"]


def install() -> None:
    import quire.worker.executor

    quire.worker.executor.UniprocExecutor = PacedExecutor
