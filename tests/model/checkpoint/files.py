"""Safetensors files written by hand, so that each can be wrong in one particular way."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

FACTS = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}


def write_file(path: Path, header: dict[str, Any] | bytes, data_bytes: int) -> Path:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + bytes(data_bytes))
    return path


def llama_config(**changes: Any) -> dict[str, Any]:
    """A config.json that reads without complaint; a change to None removes the key."""
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 100,
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 512,
        "torch_dtype": "bfloat16",
        "eos_token_id": 2,
        **changes,
    }
    return {key: value for key, value in config.items() if value is not None}


def write_model(folder: Path, **changes: Any) -> Path:
    """A folder with a config.json and a tiny, sound safetensors file (whose tensor no family would know)."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(llama_config(**changes)))
    write_file(folder / "model.safetensors", {"a": FACTS}, 24)
    return folder
