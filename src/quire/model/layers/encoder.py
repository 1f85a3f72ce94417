"""What encoder networks have in common and no decoder has: attention both ways, token types, classifiers."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from quire.model import ops
from quire.model.layers.layer import Layer
from quire.model.layers.linear import Embedding
from quire.model.layers.network import Network
from quire.model.layers.rotary import Angles
from quire.model.layers.step_input import StepInput


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderAttention:
    """The part of an encoder's attention layer without weights. `window` w sees w tokens on either side, 0 all."""

    scale: float
    window: int = 0

    def __call__(
        self,
        query_TNH: Tensor,
        key_TKH: Tensor,
        value_TKH: Tensor,
        step: StepInput,
        angles: Angles | None = None,
    ) -> Tensor:
        """Returns (T, N · H), ready for the output projection. `angles` turn queries and keys."""
        if angles is not None:
            query_TNH = ops.rope(query_TNH, angles.cos, angles.sin)
            key_TKH = ops.rope(key_TKH, angles.cos, angles.sin)
        seen_TNH = ops.encoder_attention(
            query_TNH, key_TKH, value_TKH, step.attention, scale=self.scale, window=self.window
        )
        return seen_TNH.flatten(1)


class TokenTypes(Layer):
    """What a token's type adds to its embedding: a row of a table (num_types, width). Where there is one type, every
    token has it, whatever the step says. Steps of up to `longest_step` tokens can be recorded."""

    def __init__(self, num_types: int, width: int, longest_step: int) -> None:
        super().__init__()
        self.table = Embedding(num_types, width)
        self.is_told = num_types > 1
        self.zeros_T = torch.zeros(longest_step, dtype=torch.int64, device="cpu")

    def forward(self, step: StepInput) -> Tensor:
        types_T = step.token_type_ids_T
        if types_T is None or not self.is_told:
            num_tokens = len(step.token_ids_T)
            is_short = num_tokens <= len(self.zeros_T)
            types_T = self.zeros_T[:num_tokens] if is_short else torch.zeros_like(step.token_ids_T)
        return self.table(types_T)


class Encoder(Network):
    """An encoder network: a step has whole sequences (see StepInput), and nothing of them is kept.

    `num_labels` is 0 where the checkpoint has no classifier. Where it has one, `classified` says what `classify`
    takes of each sequence: the final hidden state of its first token ("CLS"), the mean of all its final hidden
    states ("MEAN"), or the final hidden state of every token ("ALL", which makes it a classifier of tokens).
    """

    num_labels: int = 0
    classified: Literal["CLS", "MEAN", "ALL"] = "CLS"

    @abstractmethod
    def classify(self, hidden_RD: Tensor) -> Tensor:
        """(R, hidden_size) in any floating type → logits (R, num_labels) in float32, before sigmoid or softmax.

        A row is what `classified` says; the checkpoint's own dense layer and non-linearity are applied here. Only for
        networks with labels.
        """
