"""UniprocExecutor: the worker lives in the caller's process, on one device."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch

from quire.base.config import EngineConfig
from quire.base.constraints import Constraint
from quire.base.messages import StepPlan, StepResult
from quire.model.kernels import configure
from quire.model.loading import load_model
from quire.model.ops import explain
from quire.worker.executor.heap import keep_freed_memory, return_freed_memory
from quire.worker.grammar import GrammarStore, Vocabulary
from quire.worker.runner import ModelRunner, allocate_caches

TORCH_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class UniprocExecutor:
    """Loads on construction (`report(done_bytes, total_bytes)` meanwhile), then runs plans in order.

    `split_s` says where loading spent its seconds.
    """

    def __init__(self, config: EngineConfig, report: Callable[[int, int], None] | None = None) -> None:
        keep_freed_memory()
        if config.num_threads:
            torch.set_num_threads(config.num_threads)
        configure(config.num_threads, config.native_isa)
        started_s = time.monotonic()
        model = load_model(config, report)
        loaded_s = time.monotonic()
        caches = allocate_caches(model.cache_shapes, config.cache, TORCH_DTYPES[config.dtype])
        self._grammars = GrammarStore(lambda: _vocabulary(config), config.grammar.cache_bytes)
        self._runner = ModelRunner(config, model, caches, self._grammars)
        return_freed_memory()
        self.split_s = {"weights": loaded_s - started_s, "KV pool": time.monotonic() - loaded_s}

    def execute(self, plan: StepPlan) -> StepResult:
        return self._runner.run(plan)

    def prepare(self, constraint: Constraint) -> Future[Any]:
        """Done when the grammar is compiled, in a thread of its own; with its error where it cannot be."""
        return self._grammars.prepare(constraint)

    def providers(self) -> list[str]:
        """One line per op, who runs it and why, and one for the whole forward pass."""
        lines = [
            f"{choice.op}: {'; '.join((f'{choice.provider} {choice.variant}'.strip(), *choice.refusals))}"
            for choice in explain()
        ]
        return [*lines, f"forward: {self._runner.forward_explained}"]


def _vocabulary(config: EngineConfig) -> Vocabulary:
    return Vocabulary(Path(config.text_folder), config.card.vocab_size, config.card.eos_token_ids)
