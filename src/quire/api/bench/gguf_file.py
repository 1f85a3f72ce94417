"""A checkpoint of one of our shapes as a GGUF file, for llama.cpp.

The file: "GGUF", version, counts; metadata; a record for each tensor; then, from a multiple of ALIGNMENT on, the
data. Numbers are little-endian, a string is its length in 8 bytes and UTF-8. Matrices are stored in one of FORMATS,
vectors as float32.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

from quire.model.checkpoint import TensorEntry, weight_entries

VERSION = 3
ALIGNMENT = 32
FLOAT32 = 0  # ggml's number of the type
BLOCK = 32  # values of a row that share a scale
ROWS_AT_ONCE = 4096  # bounds what quantising a large matrix takes
# the checkpoint's names → GGUF's, within a layer and outside of one
LAYER_NAMES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
OTHER_NAMES = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}


def q8_0(values: Any) -> Any:
    """Blocks of a float16 scale and 32 signed bytes: the largest value becomes ±127."""
    blocks = values.reshape(-1, BLOCK)
    scales = numpy.abs(blocks).max(1, keepdims=True) / numpy.float32(127)
    scaled = blocks * _inverse(scales)
    whole = numpy.copysign(numpy.floor(numpy.abs(scaled) + numpy.float32(0.5)), scaled)
    return _with_scales(scales, whole.astype(numpy.int8).view(numpy.uint8))


def q4_0(values: Any) -> Any:
    """Blocks of a float16 scale and 16 bytes: the value of the largest magnitude becomes 0, nothing becomes 8. A byte
    holds a value of the block's first half below one of its second."""
    blocks = values.reshape(-1, BLOCK)
    place = numpy.abs(blocks).argmax(1, keepdims=True)
    scales = numpy.take_along_axis(blocks, place, 1) / numpy.float32(-8)
    whole = (blocks * _inverse(scales) + numpy.float32(8.5)).astype(numpy.uint8).clip(0, 15)
    return _with_scales(scales, whole[:, : BLOCK // 2] | whole[:, BLOCK // 2 :] << 4)


def _inverse(scales: Any) -> Any:
    with numpy.errstate(divide="ignore"):
        return numpy.where(scales == 0, numpy.float32(0), numpy.float32(1) / scales)


def _with_scales(scales: Any, numbers: Any) -> Any:
    return numpy.concatenate([scales.astype("<f2").view(numpy.uint8), numbers], axis=1)


@dataclass(frozen=True, slots=True)
class Format:
    """How matrices are stored: ggml's name and number of the type, bytes of a block of 32, and how float32 becomes
    them."""

    name: str
    number: int
    block_bytes: int
    pack: Callable[[Any], Any] | None  # None: bfloat16 as it is


# by the name of Quire's format that is nearest
FORMATS = {
    "bfloat16": Format("BF16", 30, 2 * BLOCK, None),
    "int8": Format("Q8_0", 8, 2 + BLOCK, q8_0),
    "int4": Format("Q4_0", 2, 2 + BLOCK // 2, q4_0),
}


def write_gguf(folder: Path, path: Path, name: str = "bfloat16") -> None:
    """Qwen3 with tied embeddings, without a vocabulary: prompts are token ids. `name` is one of FORMATS; the
    checkpoint is of bfloat16."""
    form = FORMATS[name]
    config = json.loads((folder / "config.json").read_text("utf-8"))
    entries = list(weight_entries(folder).values())
    metadata = _metadata(config)
    with path.open("wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", VERSION, len(entries), len(metadata)))
        for key, value in metadata.items():
            file.write(_string(key) + _value(value))
        offset = 0
        for entry in entries:
            kind = form.number if len(entry.shape) == 2 else FLOAT32
            sizes = struct.pack(f"<I{len(entry.shape)}Q", len(entry.shape), *reversed(entry.shape))
            file.write(_string(gguf_name(entry.name)) + sizes + struct.pack("<IQ", kind, offset))
            offset += _aligned(_num_bytes(entry, form))
        for entry in entries:
            file.write(bytes(-file.tell() % ALIGNMENT))
            for part in _parts(entry, form):
                file.write(part)
        file.write(bytes(-file.tell() % ALIGNMENT))


def gguf_name(name: str) -> str:
    """model.layers.3.mlp.up_proj.weight → blk.3.ffn_up.weight"""
    if name in OTHER_NAMES:
        return OTHER_NAMES[name]
    index, _, part = name.removeprefix("model.layers.").removesuffix(".weight").partition(".")
    return f"blk.{index}.{LAYER_NAMES[part]}.weight"


def _metadata(config: dict[str, Any]) -> dict[str, Any]:
    """An int is 32 bits wide in the file, a float too."""
    described = {
        "block_count": config["num_hidden_layers"],
        "context_length": config["max_position_embeddings"],
        "embedding_length": config["hidden_size"],
        "feed_forward_length": config["intermediate_size"],
        "attention.head_count": config["num_attention_heads"],
        "attention.head_count_kv": config["num_key_value_heads"],
        "attention.key_length": config["head_dim"],
        "attention.value_length": config["head_dim"],
        "attention.layer_norm_rms_epsilon": float(config["rms_norm_eps"]),
        "rope.freq_base": float(config["rope_theta"]),
        "vocab_size": config["vocab_size"],
    }
    return {
        "general.architecture": "qwen3",
        "general.quantization_version": 2,
        "tokenizer.ggml.model": "no_vocab",
        **{f"qwen3.{key}": value for key, value in described.items()},
    }


def _string(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _value(value: str | int | float) -> bytes:
    """With the number of its type before it."""
    if isinstance(value, str):
        return struct.pack("<I", 8) + _string(value)
    return struct.pack("<If", 6, value) if isinstance(value, float) else struct.pack("<II", 4, value)


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _num_bytes(entry: TensorEntry, form: Format) -> int:
    count = math.prod(entry.shape)
    return 4 * count if len(entry.shape) == 1 else count // BLOCK * form.block_bytes


def _parts(entry: TensorEntry, form: Format) -> Iterator[Any]:
    """A tensor's bytes in the file, some rows at a time."""
    bits = numpy.memmap(entry.file, "<u2", "r", entry.begin, entry.shape)
    if len(entry.shape) == 1:
        yield _wide(bits)
        return
    for start in range(0, len(bits), ROWS_AT_ONCE):
        rows = bits[start : start + ROWS_AT_ONCE]
        yield rows if form.pack is None else form.pack(_wide(rows))


def _wide(bits: Any) -> Any:
    """float32 of bfloat16 bits."""
    return (bits.astype(numpy.uint32) << 16).view(numpy.float32)
