"""A model card and a machine to resolve against: nothing here depends on where the tests run."""

from __future__ import annotations

import pytest

from quire.base.config import ModelCard
from quire.base.hardware import Machine

GIB = 1024**3


def make_card(**changes) -> ModelCard:
    """Half a gigabyte of bfloat16 weights, 64 KiB of KV per token in bfloat16, 4096 tokens of context."""
    facts = {
        "folder": "/models/example",
        "name": "org/example",
        "model_type": "qwen3",
        "architecture": "Qwen3ForCausalLM",
        "dtype": "bfloat16",
        "vocab_size": 32_000,
        "hidden_size": 1024,
        "max_model_len": 4096,
        "num_layers": 16,
        "kv_heads": [8] * 16,
        "head_dim": 128,
        "eos_token_ids": [2],
        "weight_bytes": GIB // 2,
        "hf_config": {},
    }
    return ModelCard(**{**facts, **changes})


def make_machine(**changes) -> Machine:
    """8 cores with bfloat16 arithmetic, 16 of 32 GiB available."""
    facts = {
        "platform": "cpu",
        "cpu_name": "Example CPU",
        "num_cores": 8,
        "num_physical_cores": 8,
        "cores_limited_by": "",
        "memory_total_bytes": 32 * GIB,
        "memory_available_bytes": 16 * GIB,
        "isa": frozenset({"avx512f", "avx512_bf16"}),
        "cpu_ids": frozenset(range(8)),
    }
    return Machine(**{**facts, **changes})


@pytest.fixture
def card() -> ModelCard:
    return make_card()


@pytest.fixture
def machine() -> Machine:
    return make_machine()
