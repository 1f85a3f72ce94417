"""Network: what every family's network offers to the runner and to the loader."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from quire.model.layers.layer import Layer
from quire.model.layers.step_input import LayerCache, StepInput
from quire.model.weight_map import WeightMap


class Network(Layer):
    """Tokens in, hidden states out. `cache_shapes` has one entry per layer; none for an encoder, which gets whole
    sequences and keeps nothing of them."""

    cache_shapes: list[LayerCache]

    @abstractmethod
    def forward(self, step: StepInput) -> Tensor:
        """Hidden states (T, hidden_size) of every token; writes the step's keys and values to the caches."""

    @abstractmethod
    def weights(self) -> WeightMap:
        """Which checkpoint tensors each parameter is made of."""
