"""PoolerConfig: how a pooling model's hidden states become vectors and scores. Resolved, complete, immutable."""

from __future__ import annotations

from typing import Literal

import msgspec

PoolingType = Literal["CLS", "LAST", "MEAN", "ALL", "STEP"]
Activation = Literal["identity", "sigmoid", "softmax"]
HeadKind = Literal["none", "sequence", "token", "reward", "from_tokens"]


class PoolerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`task` is what a request that names none gets, `tasks` are all there are.

    `sequence` says how a prompt becomes one state (CLS, LAST, MEAN), `tokens` which tokens' states are wanted
    (ALL, or STEP: those of `step_tag_id`). `head` makes scores of states: the checkpoint's own classifier, or
    for "from_tokens" the rows of the language model's head for `head_tokens`, with `subtracts` the second less
    the first. `activation` is what scores go through, `normalizes` whether vectors get length 1, and
    `uses_activation` whether either is done where a request does not say. Scores have `logit_mean` taken off
    and are divided by `logit_sigma` first. `dimensions` is the default length of vectors, `allowed_dimensions`
    the lengths that may be asked for (None: any if `is_matryoshka`). Prompts of up to `max_embed_len` tokens
    are embedded in chunks of the context's length where `enable_chunked_processing` is on. `text_prompt` comes
    before each text that becomes a vector.
    """

    task: Literal["embed", "classify", "token_embed", "token_classify"]
    tasks: list[str]
    sequence: PoolingType
    tokens: PoolingType
    head: HeadKind = "none"
    head_tokens: list[str | int] = []
    subtracts: bool = False
    activation: Activation = "identity"
    normalizes: bool = True
    uses_activation: bool = True
    num_labels: int = 0
    labels: list[str] = []
    logit_mean: float | None = None
    logit_sigma: float | None = None
    dimensions: int | None = None
    is_matryoshka: bool = False
    allowed_dimensions: list[int] | None = None
    step_tag_id: int | None = None
    returned_token_ids: list[int] | None = None
    enable_chunked_processing: bool = False
    max_embed_len: int | None = None
    lowers_text: bool = False
    text_prompt: str = ""
