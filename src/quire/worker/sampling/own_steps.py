"""Logits processors of the user's own: classes named by --logits-processors, one more step of the requests they heed.

docs/logits-processors.md describes the interface, which is vLLM's for a processor that looks at one request.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from quire.base.config import EngineConfig
from quire.base.dotted import load_dotted
from quire.base.errors import ConfigError, InvalidValue
from quire.base.messages import REFUSED_ARGUMENTS, SamplingParams, SequenceStart
from quire.base.plugins import load_entry_point

GROUPS = ("quire.logits_processors", "vllm.logits_processors")
SETTING = "logits_processors"
ChangeRow = Callable[..., Tensor | None]


class LogitsProcessor(Protocol):
    """One object for the whole server. A class may leave out all but `new_req_logits_processor`; `arguments` lists
    the names that requests may use in `extra_args`, `validate_params` raises ValueError for their values."""

    arguments: Sequence[str]

    @classmethod
    def validate_params(cls, params: SamplingParams) -> None: ...

    def is_argmax_invariant(self) -> bool: ...

    def new_req_logits_processor(self, params: SamplingParams) -> ChangeRow | None: ...


class Processors:
    """Those of one engine, in the order in which they were named. Raises ConfigError for what is no processor."""

    def __init__(self, names: Sequence[str] = (), config: EngineConfig | None = None) -> None:
        self._all = [_construct(name, config) for name in names]

    @property
    def arguments(self) -> list[str]:
        """Names that requests may use, sorted."""
        return sorted(
            {argument for processor in self._all for argument in getattr(processor, "arguments", ())}
        )

    def steps(self, start: SequenceStart) -> list[OwnStep]:
        """The steps of one sequence. Raises InvalidValue when a processor refuses the request's arguments."""
        steps = []
        for processor in self._all:
            try:
                if validate := getattr(processor, "validate_params", None):
                    validate(start.sampling)
            except ValueError as problem:
                raise InvalidValue(f"{REFUSED_ARGUMENTS}{problem}", field="extra_args") from None
            keeps_best = getattr(processor, "is_argmax_invariant", bool)()
            if keeps_best and start.sampling.is_greedy:
                continue
            change = processor.new_req_logits_processor(start.sampling)
            if change is not None:
                steps.append(OwnStep(change, start.prompt_token_ids))
        return steps


class OwnStep:
    """One request's function: takes outputs and logits, or prompt, outputs and logits; changes them in place or
    returns others of the same shape."""

    def __init__(self, change: ChangeRow, prompt_ids: list[int]) -> None:
        self._change = change
        self._first = (prompt_ids,) if len(inspect.signature(change).parameters) >= 3 else ()

    def is_due(self, output_ids: list[int]) -> bool:
        return True

    def apply(self, row_V: Tensor, output_ids: list[int]) -> None:
        changed = self._change(*self._first, output_ids, row_V)
        if changed is None or changed is row_V:
            return
        if changed.shape != row_V.shape:
            raise InvalidValue(
                f"a logits processor made {tuple(changed.shape)} of logits of shape {tuple(row_V.shape)}"
            )
        row_V.copy_(changed)


def _construct(name: str, config: EngineConfig | None) -> Any:
    if "." in name or ":" in name:
        found = load_dotted(name, setting=SETTING)
    else:
        found = load_entry_point(name, GROUPS, setting=SETTING)
    if not isinstance(found, type) or not callable(getattr(found, "new_req_logits_processor", None)):
        raise ConfigError(
            f"--logits-processors: {name} is no class with a method new_req_logits_processor; "
            "docs/logits-processors.md describes one",
            setting=SETTING,
        )
    wanted = inspect.signature(found).parameters
    try:
        return found(config, torch.device("cpu"), False) if wanted else found()
    except Exception as problem:  # whatever somebody else's code raises
        raise ConfigError(
            f"--logits-processors: {name} failed ({type(problem).__name__}: {problem})", setting=SETTING
        ) from problem
