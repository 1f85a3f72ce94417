"""Puts a loaded tensor into its layer, which gives it the layout its op's provider reads."""

from __future__ import annotations

from torch import Tensor, nn

from quire.model.layers import Embedding, Linear


def place(network: nn.Module, name: str, value: Tensor, scheme: str) -> None:
    """`value` becomes the parameter `name`. A projection's weight is packed, and quantised as `scheme` says, at once,
    so that at most one parameter is in memory twice while a model loads."""
    owner_name, _, attribute = name.rpartition(".")
    owner = network.get_submodule(owner_name)
    owner.register_parameter(attribute, nn.Parameter(value, requires_grad=False))
    if attribute == "weight" and isinstance(owner, (Embedding, Linear)):
        owner.prepare(scheme)
