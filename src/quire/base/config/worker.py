"""WorkerVariable: a name that the serverless worker's environment has for a setting. `quire serve` reads none."""

from __future__ import annotations

from dataclasses import dataclass

from quire.base.config.setting import Effect, State

CAPABILITY = "serverless worker"


@dataclass(frozen=True, slots=True, kw_only=False)
class WorkerVariable:
    """`setting` is the setting it gives; without one it is the worker's own, or `gone` says what became of it."""

    name: str
    doc: str
    setting: str = ""
    gone: str = ""

    @property
    def state(self) -> State:
        if self.gone:
            return State(Effect.WITHOUT_EFFECT, f"vLLM 0.33 no longer has it: {self.gone}")
        return State(
            Effect.WITHOUT_EFFECT, f"Quire has no {CAPABILITY} yet, and only that reads it", CAPABILITY
        )
