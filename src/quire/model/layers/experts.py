"""Experts: a router and many small gated MLPs, of which each token goes through the few that the router picks."""

from __future__ import annotations

from torch import Tensor, float32

from quire.model import ops
from quire.model.layers.layer import Layer
from quire.model.layers.linear import GroupedLinear, Linear


class Experts(Layer):
    """`chosen` of `count` MLPs of `width` for each token, weighted by the router's softmax over all experts or, with
    `renormalises`, over the chosen. The router keeps its type under every scheme: it decides what is computed."""

    def __init__(
        self, hidden: int, width: int, *, count: int, chosen: int, activation: str, renormalises: bool
    ) -> None:
        super().__init__()
        self.activation = activation
        self.chosen = chosen
        self.renormalises = renormalises
        self.router = Linear(hidden, count, keeps_type=True)
        self.gate_up = GroupedLinear(count, hidden, 2 * width)
        self.down = GroupedLinear(count, width, hidden)

    def forward(self, x_TD: Tensor) -> Tensor:
        logits_TE = self.router(x_TD, float32)
        weights_TC, experts_TC = ops.choose_experts(logits_TE, self.chosen, "softmax", self.renormalises)
        inner_RI = ops.activation(self.gate_up(x_TD, experts_TC), self.activation, gated=True)
        return ops.combine_experts(self.down(inner_RI, experts_TC), weights_TC)
