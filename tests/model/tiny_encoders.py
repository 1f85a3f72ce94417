"""Tiny random encoders of every family, made by transformers, and steps of whole sequences to run them with."""

from __future__ import annotations

import json
import random
from array import array
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from quire.model.layers import AttentionBatch, Encoder, StepInput
from quire.model.loading import load_model
from tests.model.tiny import VOCAB, engine_config, tiny_tokenizer

_ENCODER = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
}
SHAPES: dict[str, dict[str, Any]] = {
    "bert": _ENCODER,
    "camembert": _ENCODER | {"max_position_embeddings": 514},
    "distilbert": {
        "dim": 64,
        "hidden_dim": 96,
        "n_layers": 3,
        "n_heads": 4,
        "max_position_embeddings": 512,
    },
    "gte": _ENCODER,
    "modernbert": _ENCODER | {"num_hidden_layers": 4, "local_attention": 42},
    "nomic_bert": _ENCODER,
    "roberta": _ENCODER | {"max_position_embeddings": 514},
    "xlm-roberta": _ENCODER | {"type_vocab_size": 1, "max_position_embeddings": 514},
}
HEADS = {
    "": "AutoModel",
    "sequence": "AutoModelForSequenceClassification",
    "token": "AutoModelForTokenClassification",
    "masked": "AutoModelForMaskedLM",
}


def tiny_encoder(family: str, *, head: str = "", seed: int = 0, **config: Any) -> Any:
    """A small random transformers model in float32 with one of HEADS. Biases and norm weights are random, too."""
    import transformers

    if family not in transformers.CONFIG_MAPPING:
        pytest.skip(f"transformers {transformers.__version__} has no {family}")
    settings = {"vocab_size": VOCAB, "pad_token_id": 1} | SHAPES[family] | config
    torch.manual_seed(seed)
    maker = getattr(transformers, HEADS[head])
    model = maker.from_config(transformers.AutoConfig.for_model(family, **settings), dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


def encoder_checkpoint(model: Any, folder: Path, *, dtype: str = "float32") -> Path:
    """Saves what `tiny_encoder` made, and a tokenizer, as an ordinary Hugging Face model. Returns the folder."""
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    model.float()
    tiny_tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|end|>", "bos_token": None}))
    return folder


def load_encoder(folder: Path, *, dtype: Any = "float32") -> Encoder:
    network = load_model(engine_config(folder, dtype=dtype))
    assert isinstance(network, Encoder)
    return network


def whole_sequences(prompts: list[list[int]], types: list[list[int]] | None = None) -> StepInput:
    """A step as an encoder is given it; `types` are the tokens' types, of the prompts' lengths."""
    lengths = [len(prompt) for prompt in prompts]
    return StepInput(
        token_ids=array("q", [token for prompt in prompts for token in prompt]),
        positions=array("q", [place for length in lengths for place in range(length)]),
        slots=array("q", [0] * sum(lengths)),
        attention=AttentionBatch(
            query_starts=[sum(lengths[:count]) for count in range(len(lengths) + 1)],
            context_lens=lengths,
            block_tables=[[] for _ in lengths],
            block_size=16,
        ),
        caches=[],
        token_type_ids=None if types is None else array("q", [kind for row in types for kind in row]),
    )


def random_texts(lengths: tuple[int, ...], *, seed: int = 0) -> list[list[int]]:
    """Without the special tokens 0 and 1: transformers takes a padding token for the end of a text."""
    chooser = random.Random(seed)
    return [[chooser.randrange(2, VOCAB) for _ in range(length)] for length in lengths]


def run_encoder(
    network: Encoder, prompts: list[list[int]], types: list[list[int]] | None = None
) -> list[Tensor]:
    """Hidden states of each prompt, all of them in one step."""
    with torch.no_grad():
        hidden_TH = network(whole_sequences(prompts, types))
    return list(hidden_TH.split([len(prompt) for prompt in prompts]))
