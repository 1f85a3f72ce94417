"""grouped_linear on the CPU: the experts' packed weights side by side in memory, one call for all rows."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from typing import Self

import torch
from torch import Tensor

from quire.model.kernels.cpu import native
from quire.model.kernels.cpu.large_pages import WEIGHTS
from quire.model.kernels.cpu.linear import PackedWeight
from quire.model.kernels.cpu.linear_int4 import PackedInt4Weight
from quire.model.kernels.cpu.linear_int8 import PackedInt8Weight
from quire.model.kernels.cpu.packed import Packed
from quire.model.kernels.prepared import Prepared

# in the order of QuireExperts of native/api.h
KINDS: dict[str, type[Packed]] = {
    "linear": PackedWeight,
    "linear_int8": PackedInt8Weight,
    "linear_int4": PackedInt4Weight,
}
supported = native.refusal
variant = native.chosen


class _GroupedLinearCall(native.Call):
    op = "grouped_linear"
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("weights", "x", "experts", "out")),
        *(
            (name, ctypes.c_int64)
            for name in ("x_stride", "rows_per_input", "num_experts", "outputs", "inputs")
        ),
        *((name, ctypes.c_int32) for name in ("kind", "dtype", "rounds_inputs")),
    ]


class PackedExperts(Prepared):
    """Weights (E, N, K), each expert's packed as `linear`, a name in KINDS, has it. `address` is that of a list of
    their descriptions' addresses."""

    def __init__(
        self,
        weight_ENK: Tensor,
        linear: str = "linear",
        experts: Iterable[Tensor] | None = None,
        group_size: int = 64,
        rounds_inputs: bool = True,
    ) -> None:
        form = [group_size, int(rounds_inputs)] if linear == "linear_int4" else []
        count, *shape = weight_ENK.shape
        size_bytes = count * KINDS[linear].size_bytes(torch.Size(shape), weight_ENK.dtype, *form)
        self._hold(weight_ENK.shape, weight_ENK.dtype, linear, WEIGHTS.empty(size_bytes), form)
        for expert, weight_NK in zip(self.experts, weight_ENK if experts is None else experts, strict=True):
            expert.fill(weight_NK.detach().contiguous())

    def _hold(
        self, shape: torch.Size, dtype: torch.dtype, linear: str, packed: Tensor, form: list[int]
    ) -> None:
        self.shape, self.dtype, self.linear, self._packed, self._form = shape, dtype, linear, packed, form
        tensors = {"form": torch.tensor(form)} if form else {}
        self.experts = [
            KINDS[linear].restore(shape[1:], dtype, {"packed": part, **tensors})
            for part in packed.chunk(shape[0])
        ]
        self._addresses = (ctypes.c_void_p * shape[0])(*(expert.address for expert in self.experts))
        self.address = ctypes.addressof(self._addresses)

    @property
    def rounds_inputs(self) -> bool:
        return bool(self._form and self._form[1])

    def tensors(self) -> dict[str, Tensor]:
        kind = list(KINDS).index(self.linear)
        return {"packed": self._packed, "form": torch.tensor([kind, *self._form])}

    @classmethod
    def restore(cls, shape: torch.Size, dtype: torch.dtype, tensors: dict[str, Tensor]) -> Self:
        weight = cls.__new__(cls)
        kind, *form = tensors["form"].tolist()
        weight._hold(shape, dtype, list(KINDS)[kind], tensors["packed"], form)
        return weight

    def rows(self, index_T: Tensor) -> Tensor:
        """Whole experts (len(index), N, K)."""
        every_row = torch.arange(self.shape[1])
        return torch.stack([self.experts[index].rows(every_row) for index in index_T.tolist()])


prepare = PackedExperts


def run(x_MK: Tensor, experts_TC: Tensor, weight_ENK: Tensor | Prepared) -> Tensor:
    if isinstance(weight_ENK, Tensor):
        weight_ENK = PackedExperts(weight_ENK)
    assert isinstance(weight_ENK, PackedExperts), "this weight was prepared for another provider"
    num_experts, outputs, inputs = weight_ENK.shape
    rows, per_input = experts_TC.numel(), experts_TC.numel() // max(len(x_MK), 1)
    if x_MK.shape[1] != inputs or x_MK.dtype is not weight_ENK.dtype or per_input * len(x_MK) != rows:
        raise TypeError(
            f"grouped_linear: inputs {tuple(x_MK.shape)} of {x_MK.dtype} and experts {tuple(experts_TC.shape)} for "
            f"weights {tuple(weight_ENK.shape)} of {weight_ENK.dtype}"
        )
    experts_R = native.check_index(experts_TC.reshape(-1), num_experts, is_given=False)
    if x_MK.stride(1) != 1:
        x_MK = x_MK.contiguous()
    out_RN = torch.empty((rows, outputs), dtype=x_MK.dtype)
    native.call(
        _GroupedLinearCall(
            rows,
            weight_ENK.address,
            x_MK.data_ptr(),
            experts_R.data_ptr(),
            out_RN.data_ptr(),
            x_MK.stride(0),
            per_input,
            num_experts,
            outputs,
            inputs,
            list(KINDS).index(weight_ENK.linear),
            native.DTYPES[x_MK.dtype],
            weight_ENK.rounds_inputs,
        )
    )
    return out_RN
