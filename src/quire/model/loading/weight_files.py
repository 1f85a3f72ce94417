"""The tensors of a checkpoint's files, one at a time: of safetensors, or of torch's archives as tensors only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from quire.base.errors import CheckpointError
from quire.model.checkpoint import TensorEntry, pickled_files, weight_entries

Read = Callable[[TensorEntry], Tensor]
DTYPE_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


class WeightFiles:
    """`entries` by tensor name; within `opened()` they can be read."""

    def __init__(self, entries: dict[str, TensorEntry]) -> None:
        self.entries = entries

    @contextmanager
    def opened(self) -> Iterator[Read]:
        with ExitStack() as stack:
            files = {
                file: stack.enter_context(safe_open(file, framework="pt"))
                for file in {entry.file for entry in self.entries.values()}
            }

            def read(entry: TensorEntry) -> Tensor:
                tensor: Tensor = files[entry.file].get_tensor(entry.name)
                return tensor

            yield read


class PickledFiles(WeightFiles):
    """The tensors are views of the mapped archives; nothing but tensors is made of what a pickle says."""

    def __init__(self, folder: Path) -> None:
        self._tensors: dict[str, Tensor] = {}
        entries: dict[str, TensorEntry] = {}
        for file in pickled_files(folder):
            for name, tensor in _tensors_of(file):
                self._tensors[name] = tensor
                entries[name] = TensorEntry(
                    name, file, DTYPE_NAMES.get(tensor.dtype, "?"), tuple(tensor.shape), 0, tensor.nbytes
                )
        if not entries:
            raise CheckpointError(
                f"{folder} holds no weights in *.bin, *.pt or *.pth files; leave --load-format auto for safetensors."
            )
        super().__init__(entries)

    @contextmanager
    def opened(self) -> Iterator[Read]:
        yield lambda entry: self._tensors[entry.name]


def open_weights(folder: Path, load_format: str) -> WeightFiles:
    """Raises CheckpointError where the folder has no weights of this format, or damaged ones."""
    return PickledFiles(folder) if load_format == "pt" else WeightFiles(weight_entries(folder))


def _tensors_of(file: Path) -> Iterator[tuple[str, Tensor]]:
    try:
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except Exception as problem:  # noqa: BLE001  an unpickler fails with anything
        reason = (str(problem).strip() or type(problem).__name__).splitlines()[0][:200]
        raise CheckpointError(
            f"{file} holds more than tensors, or is damaged ({reason}); Quire makes nothing but tensors of such a "
            f"file. Convert the model to safetensors (transformers: model.save_pretrained(folder))."
        ) from None
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]  # as some trainers wrap it
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{file} holds a {type(content).__name__}, not named tensors; it is no checkpoint."
        )
    for name, tensor in content.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise CheckpointError(
                f"{file}: {str(name)[:100]!r} is a {type(tensor).__name__}, not a tensor; it is no checkpoint."
            )
        yield name, tensor
