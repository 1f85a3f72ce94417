"""CausalLM: a network that says which token comes next."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from quire.model.layers.network import Network


class CausalLM(Network):
    """A decoder network. Its head is the attribute `head`, with the parameters `head.*` where it is not tied."""

    @abstractmethod
    def logits(self, hidden_RD: Tensor) -> Tensor:
        """(R, hidden_size) → float32 (R, vocab_size), soft cap included."""
