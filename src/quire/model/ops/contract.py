"""What an op is: a signature with a torch reference, inputs to try it on, tolerances, and a chosen provider.

A provider is a module `quire.model.kernels.<backend>.<op>` with `supported() -> str` (empty when it can run
here, else the reason it cannot) and `run`, which has the reference's signature. Within one provider a row's
result never depends on the other rows of the call. A provider may also have `prepare(weight, **form)`, which gives a
weight the layout its `run` reads best; layers call it once, when their weights are loaded, with the keywords of the
reference's own; and `variant() -> str`, which
names the instruction set or other flavour in use.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Generic, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.profiler import record_function

from quire.model.kernels import BACKENDS, Prepared

P = ParamSpec("P")
R = TypeVar("R")

Case = dict[str, Any]  # keyword arguments of one call


@dataclass(frozen=True)
class Tolerance:
    """How far a provider may stand from the reference, per dtype of the activations."""

    relative: float
    absolute: float


TIGHT = {
    torch.float32: Tolerance(1e-5, 1e-5),
    torch.bfloat16: Tolerance(2e-2, 2e-2),
    torch.float16: Tolerance(2e-3, 2e-3),
}


@dataclass(frozen=True)
class Choice:
    """Who runs an op, and why the better placed backends do not."""

    op: str
    provider: str
    refusals: tuple[str, ...]
    variant: str = ""  # of the provider: its instruction set


def _as_it_is(weight: Tensor, **form: Any) -> Tensor:
    return weight


@dataclass(frozen=True, eq=False)
class Op(Generic[P, R]):
    """One op. Calling it calls the provider chosen on first use.

    `cases(seed, dtype)` yields keyword arguments that cover the op's shapes and options. `prepare_reference` gives a
    weight the form that the reference keeps it in.
    """

    is_named: ClassVar[bool] = False  # whether calls are ranges of the running profiler

    name: str
    reference: Callable[P, R]
    cases: Callable[[int, torch.dtype], Iterator[Case]]
    prepare_reference: Callable[..., Tensor | Prepared] = _as_it_is
    tolerances: dict[torch.dtype, Tolerance] = field(default_factory=lambda: dict(TIGHT))

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        if Op.is_named:
            with record_function(f"quire::{self.name}"):
                return self._chosen[0](*args, **kwargs)
        return self._chosen[0](*args, **kwargs)

    @cached_property
    def _chosen(self) -> tuple[Callable[P, R], Choice]:
        return choose(self, BACKENDS)

    def explain(self) -> Choice:
        return self._chosen[1]

    def prepare(self, weight: Tensor, **form: Any) -> Tensor | Prepared:
        """The weight as the chosen provider wants to be given it: in its own layout, or as it is. `form` is what
        `prepare_reference` lets choose."""
        run, _ = self._chosen
        if run is self.reference:
            return self.prepare_reference(weight, **form)
        change = getattr(importlib.import_module(run.__module__), "prepare", _as_it_is)
        prepared: Tensor | Prepared = change(weight, **form)
        return prepared

    @contextmanager
    def provided_by(self, backends: tuple[str, ...]) -> Iterator[Choice]:
        """Within the block the first of these backends that can run the op runs it, or else the reference. For
        tests and measurements; prepared weights stay with the provider that made them."""
        before = self.__dict__.get("_chosen")
        self.__dict__["_chosen"] = chosen = choose(self, backends)
        try:
            yield chosen[1]
        finally:
            del self.__dict__["_chosen"]
            if before is not None:
                self.__dict__["_chosen"] = before


def choose(op: Op[P, R], backends: tuple[str, ...]) -> tuple[Callable[P, R], Choice]:
    """The first backend that has the op and can run it here, else the reference."""
    refusals: list[str] = []
    for backend in backends:
        path = f"quire.model.kernels.{backend}.{op.name}"
        if importlib.util.find_spec(path) is None:
            refusals.append(f"{backend}: has no {op.name}")
            continue
        provider = importlib.import_module(path)
        reason = provider.supported()
        if not reason:
            variant = provider.variant() if hasattr(provider, "variant") else ""
            return provider.run, Choice(op.name, backend, tuple(refusals), variant)
        refusals.append(f"{backend}: {reason}")
    return op.reference, Choice(op.name, "reference", tuple(refusals))
