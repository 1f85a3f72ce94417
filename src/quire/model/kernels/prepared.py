"""Prepared: a weight in the layout of the provider that will read it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import torch
from torch import Tensor


class Prepared(ABC):
    """Takes the place of a weight tensor, of which no other copy is kept. `shape` and `dtype` are the tensor's."""

    kinds: ClassVar[
        dict[str, type[Prepared]]
    ] = {}  # all that can be restored, by the name that files give them

    shape: torch.Size
    dtype: torch.dtype

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.kinds[cls.kind()] = cls

    @classmethod
    def kind(cls) -> str:
        return f"{cls.__module__}.{cls.__qualname__}"

    @abstractmethod
    def rows(self, index_T: Tensor) -> Tensor:
        """Rows of the weight by int64 index, exactly as they were."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """All it holds, by name: what `restore` needs beside `shape` and `dtype`."""

    @classmethod
    @abstractmethod
    def restore(cls, shape: torch.Size, dtype: torch.dtype, tensors: dict[str, Tensor]) -> Self:
        """The weight that gave these `tensors`, which are kept as they are and not copied."""
