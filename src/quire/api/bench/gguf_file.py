"""A checkpoint of one of our shapes as a GGUF file, for llama.cpp. Needs the `gguf` package; no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy

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


def write_gguf(folder: Path, path: Path) -> None:
    """Qwen3 with tied embeddings, without a vocabulary: prompts are token ids. Matrices stay bfloat16,
    vectors become float32."""
    import gguf

    config = json.loads((folder / "config.json").read_text("utf-8"))
    kind = gguf.GGMLQuantizationType.BF16
    writer = gguf.GGUFWriter(path, "qwen3")
    _describe(writer, config)
    for name, bits in _tensors(folder / "model.safetensors"):
        if bits.ndim == 1:
            writer.add_tensor(gguf_name(name), _wide(bits))
        else:
            writer.add_tensor(gguf_name(name), bits.view(numpy.uint8), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _wide(bits: Any) -> Any:
    """float32 of bfloat16 bits."""
    return (bits.astype(numpy.uint32) << 16).view(numpy.float32)


def gguf_name(name: str) -> str:
    """model.layers.3.mlp.up_proj.weight → blk.3.ffn_up.weight"""
    if name in OTHER_NAMES:
        return OTHER_NAMES[name]
    index, _, part = name.removeprefix("model.layers.").removesuffix(".weight").partition(".")
    return f"blk.{index}.{LAYER_NAMES[part]}.weight"


def _describe(writer: Any, config: dict[str, Any]) -> None:
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(float(config["rope_theta"]))
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("no_vocab")


def _tensors(path: Path) -> Any:
    """(name, bfloat16 bits as uint16) of a safetensors file that `write_safetensors` wrote."""
    data = numpy.memmap(path, numpy.uint8, "r")
    length = int.from_bytes(data[:8].tobytes(), "little")
    header = json.loads(data[8 : 8 + length].tobytes())
    for name, entry in header.items():
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        yield name, data[start:end].view(numpy.uint16).reshape(entry["shape"])
