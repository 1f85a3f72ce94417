"""Puts a loaded tensor into its layer, which gives it the layout its op's provider reads."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from quire.model.kernels import Prepared
from quire.model.layers import GroupedLinear, Weighted, hold_prepared


def place(network: nn.Module, name: str, value: Tensor, scheme: str) -> None:
    """`value` becomes the parameter `name`. A projection's weight is packed, and quantised as `scheme` says, at once,
    so that at most one parameter is in memory twice while a model loads."""
    owner, attribute = _owner(network, name)
    owner.register_parameter(attribute, nn.Parameter(value, requires_grad=False))
    if attribute == "weight" and isinstance(owner, Weighted):
        owner.prepare(scheme)


def place_experts(
    network: nn.Module, name: str, experts: Iterable[Tensor], dtype: torch.dtype, scheme: str
) -> None:
    """As `place`, of weights in `dtype` that come expert by expert: each is packed before the next is asked for."""
    owner, _ = _owner(network, name)
    assert isinstance(owner, GroupedLinear), f"{name} is not a weight of experts"
    owner.prepare_each(experts, dtype, scheme)


def restore(network: nn.Module, name: str, weight: Tensor | Prepared, scheme: str) -> None:
    """`weight`, as `take` gave it for a network of the same kind, is put in its place."""
    owner, attribute = _owner(network, name)
    if isinstance(weight, Prepared):
        assert isinstance(owner, Weighted), f"{name} is not computed in a prepared form"
        hold_prepared(owner, weight, scheme)
    else:
        owner.register_parameter(attribute, nn.Parameter(weight, requires_grad=False))


def take(network: nn.Module, name: str) -> Tensor | Prepared:
    """The weight `name` out of the network, which no longer holds it."""
    owner, attribute = _owner(network, name)
    weight: Tensor | Prepared = getattr(owner, attribute)
    delattr(owner, attribute)
    return weight


def _owner(network: nn.Module, name: str) -> tuple[nn.Module, str]:
    owner_name, _, attribute = name.rpartition(".")
    return network.get_submodule(owner_name), attribute
