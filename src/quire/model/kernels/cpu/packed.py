"""Packed: a weight in panels of 32 outputs, in one piece of memory that the native library reads."""

from __future__ import annotations

import ctypes
from abc import abstractmethod
from typing import ClassVar, Self

import torch
from torch import Tensor

from quire.model.kernels.cpu import native
from quire.model.kernels.cpu.large_pages import WEIGHTS
from quire.model.kernels.prepared import Prepared

PANEL_OUTPUTS = 32
TILE_STEPS = 16


class RowsCall(native.Call):
    """QuireRowsCall of native/api.h: rows of a packed table."""

    op = "linear_rows"
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("weight", "indices", "out")),
        ("dtype", ctypes.c_int32),
    ]


class Packed(Prepared):
    """A weight (N, K) in a layout of the library. `form` is what was asked for beside the weight, in whole numbers;
    `address` is that of the library's description of it."""

    rows_call: ClassVar[type[RowsCall]]

    def __init__(self, weight_NK: Tensor, *form: int) -> None:
        weight_NK = weight_NK.detach()
        if weight_NK.stride(1) != 1:
            weight_NK = weight_NK.contiguous()
        packed = WEIGHTS.empty(self.size_bytes(weight_NK.shape, weight_NK.dtype, *form))
        self._hold(weight_NK.shape, weight_NK.dtype, packed, form)
        self.fill(weight_NK)

    @staticmethod
    @abstractmethod
    def size_bytes(shape: torch.Size, dtype: torch.dtype, *form: int) -> int:
        """Of the whole packed weight."""

    @abstractmethod
    def describe(self, start: int) -> ctypes.Structure:
        """The structure of native/api.h for this weight, whose memory begins at `start`."""

    @abstractmethod
    def fill(self, weight_NK: Tensor) -> None:
        """Packs the weight, whose rows are in one piece each."""

    def _hold(self, shape: torch.Size, dtype: torch.dtype, packed: Tensor, form: tuple[int, ...]) -> None:
        self.shape, self.dtype, self.form, self._packed = shape, dtype, form, packed
        self._description = self.describe(packed.data_ptr())
        self.address = ctypes.addressof(self._description)

    def tensors(self) -> dict[str, Tensor]:
        form = {"form": torch.tensor(self.form)} if self.form else {}
        return {"packed": self._packed, **form}

    @classmethod
    def restore(cls, shape: torch.Size, dtype: torch.dtype, tensors: dict[str, Tensor]) -> Self:
        weight = cls.__new__(cls)
        form = tuple(tensors["form"].tolist()) if "form" in tensors else ()
        weight._hold(shape, dtype, tensors["packed"], form)
        return weight

    def rows(self, index_T: Tensor) -> Tensor:
        index_T = native.check_index(index_T, self.shape[0])
        out = torch.empty((len(index_T), self.shape[1]), dtype=self.dtype)
        dtype = native.DTYPES[self.dtype]
        native.call(self.rows_call(len(index_T), self.address, index_T.data_ptr(), out.data_ptr(), dtype))
        return out


def panel_steps(inputs: int, group: int) -> int:
    """Steps of `group` inputs in a panel, up to whole tiles where several inputs lie side by side."""
    return inputs if group == 1 else -(-inputs // (group * TILE_STEPS)) * TILE_STEPS


def padded_outputs(outputs: int) -> int:
    """With those that fill the last panel."""
    return -(-outputs // PANEL_OUTPUTS) * PANEL_OUTPUTS
