"""ModelCard: the checkpoint facts everyone may know, free of tensors."""

from __future__ import annotations

from typing import Any

import msgspec


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """Facts read from a model folder (`config.json` and neighbours, with `--hf-overrides` applied).

    `max_model_len` is the longest context the checkpoint was made for, in tokens. `kv_heads` has one entry
    per layer. `hf_config` is the whole text config, for the family's own file. `sampling_defaults` are the
    usable entries of `generation_config.json`. `is_encoder` is the family's: whole sequences, no KV cache.
    """

    folder: str
    name: str
    model_type: str
    architecture: str
    dtype: str  # as stored: "bfloat16", "float16" or "float32"
    vocab_size: int
    hidden_size: int
    max_model_len: int
    num_layers: int
    kv_heads: list[int]
    head_dim: int
    eos_token_ids: list[int]
    weight_bytes: int
    hf_config: dict[str, Any]
    sampling_defaults: dict[str, Any] = {}
    is_encoder: bool = False
