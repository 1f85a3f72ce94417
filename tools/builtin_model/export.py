"""Write a training checkpoint as an ordinary Hugging Face folder in bfloat16.

python tools/builtin_model/export.py --tokenizer tokenizer.json --checkpoint folio.pt --output FOLDER
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from chat_format import END, PADDING
from model import ModelShape

MAX_POSITIONS = 2048
TEMPLATE = Path(__file__).with_name("chat_template.jinja")


def config_of(shape: ModelShape, tokenizer: Tokenizer) -> dict[str, Any]:
    """config.json as transformers writes it for Qwen3ForCausalLM."""
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": None,
        "eos_token_id": tokenizer.token_to_id(END),
        "head_dim": shape.head_dim,
        "hidden_act": "silu",
        "hidden_size": shape.hidden_size,
        "initializer_range": 0.02,
        "intermediate_size": shape.intermediate_size,
        "max_position_embeddings": MAX_POSITIONS,
        "max_window_layers": shape.num_layers,
        "model_type": "qwen3",
        "num_attention_heads": shape.num_heads,
        "num_hidden_layers": shape.num_layers,
        "num_key_value_heads": shape.num_kv_heads,
        "pad_token_id": tokenizer.token_to_id(PADDING),
        "rms_norm_eps": shape.norm_epsilon,
        "rope_scaling": None,
        "rope_theta": shape.rope_theta,
        "sliding_window": None,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "use_sliding_window": False,
        "vocab_size": shape.vocab_size,
    }


def tokenizer_config_of(tokenizer: Tokenizer) -> dict[str, Any]:
    """tokenizer_config.json; the chat template lies in its own file."""
    return {
        "added_tokens_decoder": {
            str(number): {
                "content": token.content,
                "lstrip": token.lstrip,
                "normalized": token.normalized,
                "rstrip": token.rstrip,
                "single_word": token.single_word,
                "special": token.special,
            }
            for number, token in sorted(tokenizer.get_added_tokens_decoder().items())
        },
        "add_bos_token": False,
        "add_prefix_space": False,
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "eos_token": END,
        "model_max_length": MAX_POSITIONS,
        "pad_token": PADDING,
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": None,
    }


def generation_config_of(tokenizer: Tokenizer) -> dict[str, Any]:
    """generation_config.json: where to stop, and the sampling used when a caller names none."""
    return {
        "do_sample": True,
        "eos_token_id": [tokenizer.token_to_id(END), tokenizer.token_to_id(PADDING)],
        "pad_token_id": tokenizer.token_to_id(PADDING),
        "temperature": 0.7,
        "top_p": 0.95,
    }


def export(tokenizer_path: Path, checkpoint: Path, output: Path) -> int:
    """Write all files; returns the size of the folder in bytes."""
    saved = torch.load(checkpoint, map_location="cpu")
    tokenizer = Tokenizer.from_file(str(tokenizer_path))
    output.mkdir(parents=True, exist_ok=True)
    weights = {name: weight.to(torch.bfloat16).contiguous() for name, weight in saved["model"].items()}
    save_file(weights, output / "model.safetensors", metadata={"format": "pt"})
    texts = {
        "config.json": config_of(ModelShape(**saved["shape"]), tokenizer),
        "generation_config.json": generation_config_of(tokenizer),
        "tokenizer_config.json": tokenizer_config_of(tokenizer),
    }
    for name, content in texts.items():
        (output / name).write_text(json.dumps(content, indent=2) + "\n")
    shutil.copyfile(tokenizer_path, output / "tokenizer.json")
    shutil.copyfile(TEMPLATE, output / "chat_template.jinja")
    return sum(file.stat().st_size for file in output.iterdir())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--tokenizer", "--checkpoint", "--output"):
        parser.add_argument(name, type=Path, required=True)
    asked = parser.parse_args()
    size_bytes = export(asked.tokenizer, asked.checkpoint, asked.output)
    print(f"{asked.output}: {size_bytes / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
