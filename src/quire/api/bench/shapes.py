"""Model folders of a known shape, written here: what is measured needs no download.

The tokenizer is the built-in model's; its ids fit, since every shape's vocabulary is larger.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy

from quire.api.bench.options import Options
from quire.base.errors import ConfigError
from quire.model.checkpoint import builtin_folder

_QWEN3: dict[str, Any] = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "dtype": "bfloat16",
    "head_dim": 128,
    "num_key_value_heads": 8,
    "max_position_embeddings": 40960,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1_000_000,
    "tie_word_embeddings": True,
    "hidden_act": "silu",
    "attention_bias": False,
    "vocab_size": 151_936,
}
_QWEN3_MOE = {
    **_QWEN3,
    "architectures": ["Qwen3MoeForCausalLM"],
    "model_type": "qwen3_moe",
    "tie_word_embeddings": False,
    "norm_topk_prob": True,
}
SHAPES: dict[str, dict[str, Any]] = {
    # small enough for tests: the whole path in a second
    "tiny": {
        **_QWEN3,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "vocab_size": 4096,
    },
    "tiny-moe": {
        **_QWEN3_MOE,
        "hidden_size": 64,
        "moe_intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "vocab_size": 4096,
    },
    "qwen3-0.6b": {
        **_QWEN3,
        "hidden_size": 1024,
        "intermediate_size": 3072,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
    },
    "qwen3-1.7b": {
        **_QWEN3,
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
    },
    "qwen3-4b": {
        **_QWEN3,
        "hidden_size": 2560,
        "intermediate_size": 9728,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
    },
    "qwen3-30b-a3b": {
        **_QWEN3_MOE,
        "hidden_size": 2048,
        "moe_intermediate_size": 768,
        "num_hidden_layers": 48,
        "num_attention_heads": 32,
        "num_key_value_heads": 4,
        "num_experts": 128,
        "num_experts_per_tok": 8,
    },
}


def shape(words: Sequence[str]) -> int:
    """`quire bench shape NAME FOLDER [--weights]`."""
    options = Options("shape", "Write a model folder of a known shape: config.json and a tokenizer.")
    options.add_argument("name", choices=list(SHAPES))
    options.add_argument("folder", type=Path)
    options.add_argument(
        "--weights", action="store_true", help="random bfloat16 weights too, else: --load-format dummy"
    )
    asked = options.parse(words)
    if (asked.folder / "config.json").exists():
        raise ConfigError(f"{asked.folder} holds a config.json already; give another folder")
    write_shape(asked.name, asked.folder, with_weights=asked.weights)
    size = sum(path.stat().st_size for path in asked.folder.iterdir())
    print(f"{asked.folder}: {size / 1e6:.1f} MB")
    return 0


def write_shape(name: str, folder: Path, *, with_weights: bool) -> Path:
    """The folder, made if need be. Without weights only `load_format` dummy can use it."""
    config = SHAPES[name]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1), "utf-8")
    for file in builtin_folder().glob("token*"):
        shutil.copy(file, folder)
    if with_weights:
        write_safetensors(folder / "model.safetensors", tensor_shapes(config))
    return folder


def tensor_shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a Qwen3 or Qwen3-MoE checkpoint's tensors."""
    hidden, head_dim, experts = config["hidden_size"], config["head_dim"], config.get("num_experts", 0)
    query, key = config["num_attention_heads"] * head_dim, config["num_key_value_heads"] * head_dim
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (config["vocab_size"], hidden),
        "model.norm.weight": (hidden,),
    }
    layer: dict[str, tuple[int, ...]] = {
        "input_layernorm": (hidden,),
        "post_attention_layernorm": (hidden,),
        "self_attn.q_proj": (query, hidden),
        "self_attn.k_proj": (key, hidden),
        "self_attn.v_proj": (key, hidden),
        "self_attn.o_proj": (hidden, query),
        "self_attn.q_norm": (head_dim,),
        "self_attn.k_norm": (head_dim,),
    }
    mlp = config["moe_intermediate_size" if experts else "intermediate_size"]
    for place in [f"mlp.experts.{expert}" for expert in range(experts)] or ["mlp"]:
        layer |= {f"{place}.{name}_proj": (mlp, hidden) for name in ("gate", "up")}
        layer[f"{place}.down_proj"] = (hidden, mlp)
    if experts:
        layer["mlp.gate"] = (experts, hidden)
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (config["vocab_size"], hidden)
    for index in range(config["num_hidden_layers"]):
        shapes |= {f"model.layers.{index}.{name}.weight": shape for name, shape in layer.items()}
    return shapes


def step_bytes(config: dict[str, Any], dtype_bytes: int, quantization: str) -> int:
    """Bytes of weights that a decode step of one sequence reads, by a shape's config.json: every projection once, the
    head among them, of experts those that a token goes through. Scales of groups count, those of rows do not.
    `quantization` is EngineConfig's; routers keep `dtype_bytes` under all."""
    chosen = tuple(f".experts.{expert}." for expert in range(config.get("num_experts_per_tok", 0)))
    routers = sizes = 0
    for tensor, shape in tensor_shapes(config).items():
        is_table = tensor == "model.embed_tokens.weight" and not config["tie_word_embeddings"]
        is_idle = ".experts." in tensor and not any(expert in tensor for expert in chosen)
        if len(shape) != 2 or is_table or is_idle:
            continue
        if tensor.endswith("mlp.gate.weight"):
            routers += math.prod(shape)
        else:
            sizes += math.prod(shape)
    return routers * dtype_bytes + int(sizes * (_bytes_of(quantization) or dtype_bytes))


def _bytes_of(quantization: str) -> float:
    """Of one weight; 0 where nothing is quantised."""
    if quantization.startswith("int4-"):
        return 0.5 + 2 / int(quantization.split("-")[1])
    return 1.0 if quantization == "int8" else 0.0


def write_safetensors(path: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    """bfloat16 tensors of small random values; the format is an 8-byte length, a JSON header, the data."""
    header, offset = {}, 0
    for name, shape in shapes.items():
        size = 2 * int(numpy.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    random = numpy.random.default_rng(0)
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for shape in shapes.values():
            # sign and mantissa at random over an exponent that makes values of about 0.01
            bits = random.integers(0, 1 << 16, int(numpy.prod(shape)), dtype=numpy.uint16)
            file.write(((bits & 0x807F) | 0x3C00).tobytes())
