"""ModelCard: the checkpoint facts everyone may know, free of tensors."""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class PoolingFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a folder says of itself as a model whose hidden states are pooled.

    `architecture` is the class that config.json names, empty where it names none. `head` says what stands on top of
    the trunk: a language model's head, one classifier of the pooled state ("sequence") or of every token ("token"),
    a reward model's two layers of every token ("reward"), or nothing. `has_layout` is true of a folder in
    sentence-transformers' layout, whose `pooling_type`, `normalizes` and `max_tokens` are then known (empty and None
    where its files leave them out); `text_prompt` is what it puts before each text that becomes a vector.
    `activation` is the one the files name for scores. `dimensions` are the lengths that embeddings may be cut to;
    None for every length, if `is_matryoshka`. `refused_module` names a part of the layout that Quire cannot run.
    `classifier_from_token` are tokens whose rows of a language model's head make a classifier, `classifier_method`
    how.
    """

    architecture: str = ""
    head: Literal["lm", "sequence", "token", "reward", "none"] = "lm"
    num_labels: int = 0
    labels: list[str] = []
    problem_type: str = ""
    activation: str = ""
    has_layout: bool = False
    pooling_type: str = ""
    normalizes: bool = False
    max_tokens: int | None = None
    lowers_text: bool = False
    text_prompt: str = ""
    refused_module: str = ""
    is_matryoshka: bool = False
    dimensions: list[int] | None = None
    classifier_from_token: list[str] = []
    classifier_method: str = ""


class ExpertFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The experts of each layer: how many there are, how many a token goes through, the inner width of one."""

    count: int
    chosen: int
    width: int


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """Facts read from a model folder (`config.json` and neighbours, with `--hf-overrides` applied).

    `max_model_len` is the longest context the checkpoint was made for, in tokens. `kv_heads` has one entry
    per layer. `hf_config` is the whole text config, for the family's own file. `sampling_defaults` are the
    usable entries of `generation_config.json`. `is_encoder` is the family's: whole sequences, no KV cache. `experts`
    are in every layer, in place of its MLP.
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
    experts: ExpertFacts | None = None
    pooling: PoolingFacts = PoolingFacts()
