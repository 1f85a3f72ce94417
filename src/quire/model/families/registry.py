"""The table of model families: which file builds which `model_type`. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Family:
    """One family. `network` is "module:class" inside this room, imported when a model is built.

    `defaults` are the values a key has when config.json leaves it out (older files do). An encoder looks both ways:
    it takes whole sequences, holds no KV cache and generates nothing.
    """

    model_type: str
    architectures: tuple[str, ...]
    network: str
    defaults: dict[str, Any] = field(default_factory=dict)
    is_encoder: bool = False


def _encoders(name: str, *more: str) -> tuple[str, ...]:
    """The architectures of an encoder whose trunk is kept, with the classifiers that are understood."""
    endings = ("Model", "ForMaskedLM", *more, "ForSequenceClassification", "ForTokenClassification")
    return tuple(name + ending for ending in endings)


_GEMMA3 = {
    "head_dim": 256,
    "max_position_embeddings": 131072,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "vocab_size": 262208,
}

FAMILIES: dict[str, Family] = {
    family.model_type: family
    for family in (
        Family("bert", _encoders("Bert", "ForPreTraining"), "bert:Bert", is_encoder=True),
        Family("gemma2", ("Gemma2ForCausalLM",), "gemma2:Gemma2", {"head_dim": 256}),
        Family("gemma3", ("Gemma3ForConditionalGeneration",), "gemma3:Gemma3", _GEMMA3),
        Family("gemma3_text", ("Gemma3ForCausalLM",), "gemma3:Gemma3", _GEMMA3),
        Family("gpt2", ("GPT2LMHeadModel",), "gpt2:GPT2"),
        Family("gpt_neox", ("GPTNeoXForCausalLM",), "gpt_neox:GPTNeoX"),
        Family("llama", ("LlamaForCausalLM",), "llama:Llama"),
        Family("mistral", ("MistralForCausalLM",), "mistral:Mistral"),
        Family("opt", ("OPTForCausalLM",), "opt:OPT"),
        Family("phi3", ("Phi3ForCausalLM",), "phi3:Phi3"),
        Family("qwen2", ("Qwen2ForCausalLM",), "qwen2:Qwen2"),
        Family("qwen3", ("Qwen3ForCausalLM",), "qwen3:Qwen3", {"head_dim": 128}),
    )
}
