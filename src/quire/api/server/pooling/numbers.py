"""How vectors are written: as JSON numbers, base64, or raw bytes, in the type and byte order that was asked for."""

from __future__ import annotations

import base64
import sys
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from starlette.responses import Response

from quire.api.server.openai.usage import Usage
from quire.api.server.pooling.fields import NumberFields
from quire.api.server.pooling.prompts import Call
from quire.api.server.replies import json_reply
from quire.base.errors import InvalidValue, Unsupported

Numbers = npt.NDArray[np.float32]
_BITS = {"float32": "u4", "float16": "u2", "bfloat16": "u2"}


class Item(msgspec.Struct):
    index: int
    object: str
    embedding: Any = msgspec.UNSET
    data: Any = msgspec.UNSET


class ItemList(msgspec.Struct, kw_only=True):
    id: str
    object: str = "list"
    created: int
    model: str
    data: list[Item]
    usage: Usage


def check_encoding(fields: NumberFields) -> None:
    """Raises for a type Quire does not write, or one that JSON numbers cannot have."""
    if fields.embed_dtype not in _BITS:
        raise Unsupported(
            f"embed_dtype {fields.embed_dtype[:40]} is not supported; give {', '.join(_BITS)}",
            field="embed_dtype",
        )
    if fields.encoding_format == "float" and (
        fields.embed_dtype != "float32" or fields.endianness != "native"
    ):
        name = "embed_dtype" if fields.embed_dtype != "float32" else "endianness"
        raise InvalidValue(f"{name} is for encoding_format base64 and bytes; JSON has one way", field=name)


def numbers_reply(
    call: Call, fields: NumberFields, arrays: list[Numbers], usage: Usage, *, kind: str
) -> Response:
    """`kind` is "embedding" or "pooling"; pooling's numbers are called `data`."""
    if fields.encoding_format in ("bytes", "bytes_only"):
        return _bytes_reply(call, fields, arrays, usage, kind)
    name = "embedding" if kind == "embedding" else "data"
    items = [Item(index, kind, **{name: _written(array, fields)}) for index, array in enumerate(arrays)]
    return json_reply(ItemList(id=call.id, created=call.created, model=call.model, data=items, usage=usage))


def _written(array: Numbers, fields: NumberFields) -> Any:
    if fields.encoding_format == "float":
        return array.tolist()
    return base64.b64encode(packed(array, fields.embed_dtype, fields.endianness)).decode()


def packed(array: Numbers, dtype: str, endianness: str) -> bytes:
    """Bytes of `array`, row by row."""
    if dtype == "bfloat16":
        bits = np.ascontiguousarray(array).view(np.uint32)
        rounded = bits + 0x7FFF + ((bits >> 16) & 1)  # to the nearest, ties to even; what is pooled is finite
        raw: npt.NDArray[Any] = (rounded >> 16).astype(np.uint16)
    else:
        raw = np.ascontiguousarray(array.astype(dtype)).view(_BITS[dtype])
    is_foreign = endianness not in ("native", sys.byteorder)
    return (raw.byteswap() if is_foreign else raw).tobytes()


def _bytes_reply(
    call: Call, fields: NumberFields, arrays: list[Numbers], usage: Usage, kind: str
) -> Response:
    """The vectors one after the other; the header `metadata` says where each lies, unless it was not wanted."""
    parts = [packed(array, fields.embed_dtype, fields.endianness) for array in arrays]
    headers = {}
    if fields.encoding_format == "bytes":
        items, start = [], 0
        for index, (array, part) in enumerate(zip(arrays, parts, strict=True)):
            items.append(
                {
                    "index": index,
                    "object": kind,
                    "embed_dtype": fields.embed_dtype,
                    "endianness": fields.endianness,
                    "start": start,
                    "end": start + len(part),
                    "shape": list(array.shape),
                }
            )
            start += len(part)
        metadata = {
            "id": call.id,
            "created": call.created,
            "model": call.model,
            "data": items,
            "usage": usage,
        }
        headers["metadata"] = msgspec.json.encode(metadata).decode()
    return Response(b"".join(parts), headers=headers, media_type="application/octet-stream")
