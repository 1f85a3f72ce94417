"""PooledNetwork: a family's trunk with a classifier, or nothing, where a language model has its head."""

from __future__ import annotations

import re
from dataclasses import replace

import torch
from torch import Tensor, float32, nn

from quire.base.config import PoolerConfig
from quire.model.layers.layer import Layer
from quire.model.layers.linear import Linear
from quire.model.layers.network import Network
from quire.model.layers.step_input import StepInput
from quire.model.weight_map import Source, WeightMap

_HEAD_NAMES = r"(lm_head|embed_out|score|classifier|qa_outputs)\."


class TwoLayers(Layer):
    """A reward model's head: a layer, ReLU, a layer."""

    def __init__(self, width: int, num_labels: int) -> None:
        super().__init__()
        self.first = Linear(width, width, bias=True)
        self.last = Linear(width, num_labels, bias=True)

    def forward(self, hidden_RD: Tensor, out_dtype: torch.dtype | None = None) -> Tensor:
        return self.last(torch.relu(self.first(hidden_RD)), out_dtype)


class PooledNetwork(Network):
    """`scores` are float32, one for each label; a trunk with a method `classify` has a classifier of its own.

    `head_rows` are the rows of the language model's head that make the classifier where there are any: with
    `subtracts` one score, of the second less the first.
    """

    def __init__(
        self, trunk: Network, pooler: PoolerConfig, width: int, head_rows: list[int] | None = None
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.cache_shapes = trunk.cache_shapes
        self._pooler = pooler
        self._rows = head_rows
        self._trunk_weights = trunk.weights()
        self._head_weights = {
            name: source for name, source in self._trunk_weights.sources.items() if name.startswith("head.")
        }
        self.own_head: Linear | TwoLayers | None = None
        if head_rows is None:
            _drop_head(trunk)
            if pooler.head == "reward":
                self.own_head = TwoLayers(width, pooler.num_labels)
            elif pooler.head != "none" and not hasattr(trunk, "classify"):
                self.own_head = Linear(width, pooler.num_labels, bias=pooler.head == "token")

    def forward(self, step: StepInput) -> Tensor:
        return self.trunk(step)

    def scores(self, hidden_RD: Tensor) -> Tensor:
        """(R, hidden_size) → float32 (R, num_labels)."""
        if self._rows is not None:
            logits_RV: Tensor = self.trunk.logits(hidden_RD)  # type: ignore[operator]
            picked_RL = logits_RV[:, self._rows]
            return picked_RL[:, 1:] - picked_RL[:, :1] if self._pooler.subtracts else picked_RL
        if self.own_head is not None:
            return self.own_head(hidden_RD, float32)
        scores_RL: Tensor = self.trunk.classify(hidden_RD)  # type: ignore[operator]
        return scores_RL

    def weights(self) -> WeightMap:
        """The trunk's, without the head that is dropped; checkpoints of a bare trunk leave its prefix out."""
        given = self._trunk_weights
        keeps_head = self._rows is not None
        sources = {
            f"trunk.{name}": source
            for name, source in given.sources.items()
            if keeps_head or name not in self._head_weights
        }
        prefix = "" if hasattr(self.trunk, "classify") else _common_prefix(sources)
        renames = given.renames
        if prefix:
            renames += ((rf"^(?!{re.escape(prefix)}|{_HEAD_NAMES})", prefix),)
        dropped = tuple(re.escape(name) for source in self._head_weights.values() for name in source.names)
        ignored = given.ignored if keeps_head else (*given.ignored, *dropped)
        return replace(given, sources=sources | self._own_sources(), ignored=ignored, renames=renames)

    def _own_sources(self) -> dict[str, Source]:
        if isinstance(self.own_head, TwoLayers):
            layers = {"first": "score.0", "last": "score.2"}
            return {
                f"own_head.{ours}.{kind}": Source((f"{theirs}.{kind}",))
                for ours, theirs in layers.items()
                for kind in ("weight", "bias")
            }
        if self.own_head is None:
            return {}
        kinds = ("weight",) if self.own_head.bias is None else ("weight", "bias")
        return {f"own_head.{kind}": Source((f"score.{kind}",)) for kind in kinds}


def _drop_head(trunk: nn.Module) -> None:
    """Without its head a language model takes less memory, and its embedding stays as it is."""
    if hasattr(trunk, "head"):
        if "head" not in dict(trunk.named_children()):
            trunk.embedding.is_head = False  # type: ignore[union-attr]
        del trunk.head


def _common_prefix(sources: dict[str, Source]) -> str:
    """What all tensors of the trunk begin with, up to a dot; empty where they do not agree."""
    heads = re.compile(_HEAD_NAMES)
    names = [name for source in sources.values() for name in source.names if not heads.match(name)]
    firsts = {name.partition(".")[0] for name in names}
    return f"{firsts.pop()}." if len(firsts) == 1 else ""
