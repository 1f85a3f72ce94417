"""The table of model families: which file builds which `model_type`. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Family:
    """One family. `network` is "module:class" inside this room, imported when a model is built.

    `defaults` are the values a key has when config.json leaves it out (older files do). An encoder looks both ways:
    it takes whole sequences, holds no KV cache and generates nothing. `counts_from_padding` is true where the first
    `pad_token_id` + 1 of the learned positions are no text's, `has_experts` where each layer has them for an MLP.
    """

    model_type: str
    architectures: tuple[str, ...]
    network: str
    defaults: dict[str, Any] = field(default_factory=dict)
    is_encoder: bool = False
    counts_from_padding: bool = False
    has_experts: bool = False


def _encoders(name: str, *more: str) -> tuple[str, ...]:
    """The architectures of an encoder whose trunk is kept, with the classifiers that are understood."""
    endings = ("Model", "ForMaskedLM", *more, "ForSequenceClassification", "ForTokenClassification")
    return tuple(name + ending for ending in endings)


def _roberta(model_type: str, name: str) -> Family:
    return Family(
        model_type,
        _encoders(name),
        "roberta:Roberta",
        {"pad_token_id": 1},
        is_encoder=True,
        counts_from_padding=True,
    )


def _with_experts(model_type: str, name: str, defaults: dict[str, Any]) -> Family:
    return Family(model_type, (f"{name}ForCausalLM",), f"{model_type}:{name}", defaults, has_experts=True)


_GEMMA3 = {
    "head_dim": 256,
    "max_position_embeddings": 131072,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "vocab_size": 262208,
}

_OLMO3 = {"rope_theta": 5e5, "sliding_window": 4096}

FAMILIES: dict[str, Family] = {
    family.model_type: family
    for family in (
        Family("bert", _encoders("Bert", "ForPreTraining"), "bert:Bert", is_encoder=True),
        _roberta("camembert", "Camembert"),
        Family("cohere", ("CohereForCausalLM",), "cohere:Cohere", {"rope_theta": 5e5}),
        Family("cohere2", ("Cohere2ForCausalLM",), "cohere:Cohere", {"sliding_window": 4096}),
        Family("distilbert", _encoders("DistilBert"), "distilbert:DistilBert", is_encoder=True),
        Family("gemma", ("GemmaForCausalLM",), "gemma:Gemma", {"head_dim": 256}),
        Family("gemma2", ("Gemma2ForCausalLM",), "gemma2:Gemma2", {"head_dim": 256}),
        Family("gemma3", ("Gemma3ForConditionalGeneration",), "gemma3:Gemma3", _GEMMA3),
        Family("gemma3_text", ("Gemma3ForCausalLM",), "gemma3:Gemma3", _GEMMA3),
        Family("gpt2", ("GPT2LMHeadModel",), "gpt2:GPT2"),
        Family("gpt_neox", ("GPTNeoXForCausalLM",), "gpt_neox:GPTNeoX"),
        Family("granite", ("GraniteForCausalLM",), "granite:Granite"),
        Family("gte", _encoders("Gte"), "gte:Gte", {"rope_theta": 16e4}, is_encoder=True),
        Family("llama", ("LlamaForCausalLM",), "llama:Llama"),
        Family("mistral", ("MistralForCausalLM",), "mistral:Mistral"),
        _with_experts("mixtral", "Mixtral", {"num_experts_per_tok": 2, "rope_theta": 1e6}),
        Family("modernbert", _encoders("ModernBert"), "modernbert:ModernBert", is_encoder=True),
        Family("new", _encoders("New"), "gte:Gte", is_encoder=True),
        Family("nomic_bert", _encoders("NomicBert"), "nomic_bert:NomicBert", is_encoder=True),
        Family("olmo2", ("Olmo2ForCausalLM",), "olmo2:Olmo2"),
        Family("olmo3", ("Olmo3ForCausalLM",), "olmo2:Olmo2", _OLMO3),
        _with_experts("olmoe", "Olmoe", {"num_experts_per_tok": 8}),
        Family("opt", ("OPTForCausalLM",), "opt:OPT"),
        Family("phi3", ("Phi3ForCausalLM",), "phi3:Phi3"),
        Family("qwen2", ("Qwen2ForCausalLM",), "qwen2:Qwen2"),
        Family("qwen3", ("Qwen3ForCausalLM",), "qwen3:Qwen3", {"head_dim": 128}),
        _with_experts("qwen3_moe", "Qwen3Moe", {"head_dim": 128, "num_experts_per_tok": 8}),
        _roberta("roberta", "Roberta"),
        Family("smollm3", ("SmolLM3ForCausalLM",), "smollm3:SmolLM3", {"rope_theta": 2e6}),
        Family("stablelm", ("StableLmForCausalLM",), "stablelm:StableLM", {"partial_rotary_factor": 0.25}),
        _roberta("xlm-roberta", "XLMRoberta"),
    )
}
