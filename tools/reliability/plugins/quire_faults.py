"""Faults in the engine process, for tests. In no release, and without effect unless VLLM_PLUGINS names it.

QUIRE_FAULTS holds faults separated by commas, each `kind@step:token`: when a request whose prompt holds this token
id is about to say its `step`-th token (counted from 1), in whatever process it runs by then,

raise   the step raises
memory  the step raises what torch does when memory runs out, as long as more than one sequence is in it
hang    the engine sleeps for ever
spin    the engine computes for ever
nan     the request's logits are NaN
exit    the engine process ends with code 9, as a crash does
"""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass

import torch

from quire.base.messages import SequenceStart, StepPlan, StepResult

VARIABLE = "QUIRE_FAULTS"
KINDS = ("raise", "memory", "hang", "spin", "nan", "exit")


@dataclass(frozen=True)
class Fault:
    kind: str
    step: int
    token_id: int


def parse(text: str) -> list[Fault]:
    """Raises ValueError."""
    faults = []
    for word in filter(None, text.split(",")):
        kind, _, place = word.partition("@")
        step, _, token_id = place.partition(":")
        if kind not in KINDS:
            raise ValueError(f"{VARIABLE}: {word!r} is not kind@step:token with a kind of {', '.join(KINDS)}")
        faults.append(Fault(kind, int(step), int(token_id)))
    return faults


class Saboteur:
    """Knows which sequences a fault is meant for, and strikes before the step that it names."""

    def __init__(self, faults: list[Fault]) -> None:
        self._faults = faults
        self._aims: dict[int, tuple[Fault, int]] = {}  # sequence → its fault, its prompt's length
        self.struck: dict[int, Fault] = {}  # rows of the current step, for faults of single rows

    def watch(self, plan: StepPlan) -> None:
        for start in plan.starts:
            self._aim(start)
        self.struck = {}
        for row, chunk in enumerate(chunk for chunk in plan.chunks if chunk.num_samples):
            fault, num_prompt_tokens = self._aims.get(chunk.sequence_id, (None, 0))
            if fault is not None and chunk.end - num_prompt_tokens + 1 == fault.step:
                self._strike(fault, row, len(plan.chunks))

    def _aim(self, start: SequenceStart) -> None:
        prompt = start.token_ids[: start.num_prompt_tokens]
        for fault in self._faults:
            if fault.token_id in prompt:
                self._aims[start.sequence_id] = (fault, start.num_prompt_tokens)

    def _strike(self, fault: Fault, row: int, num_chunks: int) -> None:
        match fault.kind:
            case "raise":
                raise ZeroDivisionError("a fault was asked for")
            case "memory":
                if num_chunks > 1:
                    raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
            case "hang":
                time.sleep(1e6)
            case "spin":
                while True:
                    pass
            case "nan":
                self.struck[row] = fault
            case "exit":
                os._exit(9)


def install() -> None:
    faults = parse(os.environ.get(VARIABLE, ""))
    if faults:
        attach(Saboteur(faults))


def attach(saboteur: Saboteur) -> None:
    """Into every runner and sampler of this process."""
    from quire.worker.runner import ModelRunner
    from quire.worker.sampling import Sampler

    run, sample, take = ModelRunner.run, Sampler.sample, Sampler.take

    def faulty_run(self: ModelRunner, plan: StepPlan) -> StepResult:
        saboteur.watch(plan)
        return run(self, plan)

    def faulty_sample(
        self: Sampler, logits_RV: torch.Tensor, requests: list, peaks: list | None = None
    ) -> list:
        for row in saboteur.struck:
            logits_RV[row] = torch.nan
        return sample(self, logits_RV, requests, None if saboteur.struck else peaks)

    def faulty_take(self: Sampler, peaks: list, requests: list) -> list:
        struck = [(math.nan, 0) if row in saboteur.struck else peak for row, peak in enumerate(peaks)]
        return take(self, struck, requests)

    ModelRunner.run, Sampler.sample, Sampler.take = faulty_run, faulty_sample, faulty_take
