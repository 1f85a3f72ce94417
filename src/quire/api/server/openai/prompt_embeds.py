"""Prompts of vectors: what a request sends as `prompt_embeds`, read without torch.

Taken are a matrix of safetensors and one that `torch.save` wrote, in base64. Of the latter's pickle only the opcodes
of one plain tensor are understood, and understood means compared: nothing is imported, called or made of it.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import pickletools
import struct
import zipfile
from collections.abc import Callable
from typing import Any, TypeAlias

from quire.api.prompts import checked_vectors, embedding_width, wrong_vectors
from quire.base.config import EngineConfig
from quire.base.errors import InvalidValue
from quire.base.messages import PromptEmbeddings

Matrix: TypeAlias = tuple[str, list[int], bytes]  # dtype, shape, numbers row after row

_SAFETENSORS = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
_STORAGES = {
    "torch FloatStorage": "float32",
    "torch BFloat16Storage": "bfloat16",
    "torch HalfStorage": "float16",
}
# what the standard library raises of bytes that are no archive, no pickle, or of another shape than is looked for
_MALFORMED = (LookupError, TypeError, ValueError, ArithmeticError, EOFError, OSError, RuntimeError)
_MAX_HEADER_BYTES = 4096
_MAX_OPCODES = 100
_OVERHEAD_BYTES = 16 * 1024  # of a file around its numbers


def read_embeddings(text: str, config: EngineConfig) -> PromptEmbeddings:
    """Raises InvalidValue naming `prompt_embeds` for what is no finite matrix as wide as the model's embedding, of at
    least one row and fewer than the context holds."""
    width = embedding_width(config)
    most_bytes = config.max_model_len * width * 4 + _OVERHEAD_BYTES
    if len(text) > most_bytes * 4 // 3 + 4:
        raise _wrong(f"has more numbers than {config.max_model_len} rows of {width}, the model's context")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _wrong("is no base64") from None
    dtype, shape, numbers = _of_torch(data) if data[:2] == b"PK" else _of_safetensors(data)
    return checked_vectors(dtype, shape, numbers, config)


def _wrong(what: str) -> InvalidValue:
    return wrong_vectors(what, ", written by safetensors or torch.save, in base64")


def _of_safetensors(data: bytes) -> Matrix:
    """A file of one tensor, which is all that lies behind its header."""
    size = int.from_bytes(data[:8], "little")
    if not 2 <= size <= _MAX_HEADER_BYTES:
        raise _wrong("is neither a file of safetensors nor one of torch.save")
    try:
        header = json.loads(data[8 : 8 + size])
        ((_, entry),) = [item for item in header.items() if item[0] != "__metadata__"]
        dtype, shape, numbers = _SAFETENSORS[entry["dtype"]], entry["shape"], data[8 + size :]
        if not all(type(number) is int for number in shape) or entry["data_offsets"] != [0, len(numbers)]:
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _wrong("is no file of safetensors with one tensor of those types") from None
    return dtype, shape, numbers


def _of_torch(data: bytes) -> Matrix:
    """What `torch.save` writes of one tensor: a zip archive that compresses nothing."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = {name.partition("/")[2]: archive.getinfo(name) for name in archive.namelist()}
            if any(part.compress_type != zipfile.ZIP_STORED for part in parts.values()):
                raise _wrong("is compressed")
            if "byteorder" in parts and archive.read(parts["byteorder"]) != b"little":
                raise _wrong("is not little-endian")
            dtype, place, shape = _tensor_of(archive.read(parts["data.pkl"]))
            numbers = archive.read(parts[f"data/{place}"])
    except (zipfile.BadZipFile, struct.error, *_MALFORMED):
        raise _wrong("is no file of torch.save with one tensor") from None
    return dtype, shape, numbers


def _tensor_of(pickled: bytes) -> tuple[str, str, list[int]]:
    """(dtype, name of its storage, shape) of the one plain tensor that a pickle describes."""
    match _described(pickled):
        case (
            "call",
            "torch._utils _rebuild_tensor_v2",
            (
                ("stored", ("storage", ("name", str(storage)), str(place), str(), int(count))),
                0,
                tuple(shape),
                tuple(strides),
                False,
                ("call", "collections OrderedDict", ()),
            ),
        ) if storage in _STORAGES and _is_whole(shape, strides, count):
            return _STORAGES[storage], place, list(shape)
    raise _wrong(
        "is no plain tensor whose numbers lie row after row (tensor.detach().cpu().contiguous().clone())"
    )


def _is_whole(shape: tuple[Any, ...], strides: tuple[Any, ...], count: int) -> bool:
    """Whether the tensor is all of its storage, in its order. A dimension of one may have any stride."""
    if not all(type(number) is int and number > 0 for number in shape) or len(strides) != len(shape):
        return False
    expected = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return expected == count


def _described(pickled: bytes) -> Any:
    """What the opcodes say, as tuples of words and numbers. Raises ValueError for any that a tensor does not need."""
    stack: list[Any] = []
    for number, (code, argument, _) in enumerate(pickletools.genops(pickled)):
        if number > _MAX_OPCODES:
            raise ValueError
        if code.name in ("PROTO", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            continue
        if code.name == "STOP":
            (whole,) = stack
            return whole
        if code.name in _VALUES:
            stack.append(_VALUES[code.name](argument))
        elif code.name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            size = int(code.name[-1])
            stack[-size:] = [tuple(stack[-size:])]
        elif code.name == "TUPLE":
            at = len(stack) - 1 - stack[::-1].index(_MARK)
            stack[at:] = [tuple(stack[at + 1 :])]
        elif code.name == "BINPERSID":
            stack[-1] = ("stored", stack[-1])
        elif code.name == "REDUCE":
            arguments, called = stack.pop(), stack.pop()
            stack.append(("call", called[1], arguments))
        else:
            raise ValueError
    raise ValueError


_MARK = object()
_VALUES: dict[str, Callable[[Any], Any]] = {
    "GLOBAL": lambda argument: ("name", argument),
    "MARK": lambda _: _MARK,
    "EMPTY_TUPLE": lambda _: (),
    "NEWFALSE": lambda _: False,
    **dict.fromkeys(
        ("BININT", "BININT1", "BININT2", "BINUNICODE", "SHORT_BINUNICODE"), lambda argument: argument
    ),
}
