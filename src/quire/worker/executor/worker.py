"""Worker: whoever computes on one device: the network, its KV memory, and the runner over both.

`--worker-cls` names a subclass to take instead; `--worker-extension-cls` a class whose methods are added, for
`collective_rpc` to call. Both may count on what is public here.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch
from torch import nn

from quire.base.config import EngineConfig
from quire.base.constraints import Constraint
from quire.base.dotted import load_dotted
from quire.base.errors import ConfigError
from quire.base.messages import StepPlan, StepResult
from quire.model.layers import CausalLM
from quire.model.loading import drop_file_pages, load_model
from quire.worker.executor.heap import return_code_pages, return_freed_memory
from quire.worker.grammar import GrammarStore, Vocabulary
from quire.worker.runner import ModelRunner, allocate_caches, return_pages
from quire.worker.sampling import Processors

TORCH_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Worker:
    """Loads on construction (`report(done_bytes, total_bytes)` meanwhile), then runs plans in order.

    `config` is the engine's, `extra_arguments` are those its logits processors take, `split_s` says where loading
    spent its seconds. Asleep there is no `model`.
    """

    def __init__(self, config: EngineConfig, report: Callable[[int, int], None] | None = None) -> None:
        self.config = config
        self._report = report
        processors = Processors(config.logits_processors, config) if config.logits_processors else None
        self.extra_arguments = processors.arguments if processors is not None else []
        started_s = time.monotonic()
        model = load_model(config, report)
        if config.pooler is None and not isinstance(model, CausalLM):
            raise ConfigError(
                f"{config.card.name} is an encoder ({config.card.architecture}), which generates no text; "
                f"give --runner pooling.",
                setting="runner",
            )
        loaded_s = time.monotonic()
        self._caches = allocate_caches(model.cache_shapes, config.cache, TORCH_DTYPES[config.dtype])
        self._grammars = GrammarStore(lambda: _vocabulary(config), config.grammar.cache_bytes)
        self.runner = ModelRunner(config, model, self._caches, self._grammars, processors)
        return_freed_memory()
        return_code_pages()
        self.split_s = {"weights": loaded_s - started_s, "KV pool": time.monotonic() - loaded_s}

    @property
    def model(self) -> nn.Module:
        """The network."""
        return self.runner.model

    def execute(self, plan: StepPlan) -> StepResult:
        """One step."""
        return self.runner.run(plan)

    def prepare(self, constraint: Constraint) -> Future[Any]:
        """Done when the grammar is compiled, in a thread of its own; with its error where it cannot be."""
        return self._grammars.prepare(constraint)

    def free_kv(self) -> None:
        """What the blocks hold is lost; their memory is the system's until it is written to again."""
        return_pages(self._caches)

    def sleep(self, level: int) -> None:
        """Give back the memory of weights and KV blocks. Called awake, while no block is in use."""
        self.runner.let_go()
        self.free_kv()
        gc.collect()
        return_freed_memory()
        if level > 1:
            self._grammars.clear()
            drop_file_pages(self.config)

    def wake_up(self) -> None:
        """Load the weights again. Raises CheckpointError, and sleeps on."""
        self.runner.take(load_model(self.config, self._report))


def _vocabulary(config: EngineConfig) -> Vocabulary:
    return Vocabulary(Path(config.text_folder), config.card.vocab_size, config.card.eos_token_ids)


def worker_class(config: EngineConfig) -> type[Worker]:
    """What `--worker-cls` names, with the methods of what `--worker-extension-cls` names. Raises ConfigError."""
    chosen: Any = Worker
    if config.worker_class:
        chosen = load_dotted(config.worker_class, setting="worker_cls")
        if not (isinstance(chosen, type) and issubclass(chosen, Worker)):
            raise ConfigError(
                f"--worker-cls: {config.worker_class} is no subclass of quire.worker.executor.Worker",
                setting="worker_cls",
            )
    worker: type[Worker] = chosen
    if not config.worker_extension_class:
        return worker
    extension: Any = load_dotted(config.worker_extension_class, setting="worker_extension_cls")
    if not isinstance(extension, type):
        raise ConfigError(
            f"--worker-extension-cls: {config.worker_extension_class} is no class",
            setting="worker_extension_cls",
        )
    taken = sorted(name for name in vars(extension) if not name.startswith("__") and hasattr(worker, name))
    if taken:
        raise ConfigError(
            f"--worker-extension-cls: {config.worker_extension_class} has a {taken[0]}, and so has the worker; "
            "give it another name",
            setting="worker_extension_cls",
        )
    return type(f"{worker.__name__}With{extension.__name__}", (worker, extension), {})
