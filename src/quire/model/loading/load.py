"""Builds the network without memory, then fills each parameter straight from the mapped files."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import torch

from quire.base.config import EngineConfig
from quire.model.checkpoint import ConfigKeys, weight_entries
from quire.model.families import FAMILIES
from quire.model.layers import CausalLM
from quire.model.loading.dummy import fill_dummy
from quire.model.loading.fill import fill_from_files

Report = Callable[[int, int], None]  # (bytes done, bytes in all)


def load_model(config: EngineConfig, report: Report | None = None) -> CausalLM:
    """The network of `config.card` in `config.dtype`. Raises CheckpointError naming a tensor that is missing,
    left over or of the wrong shape. `load_format` dummy fills small deterministic weights without files."""
    network = build_network(config)
    report = report or (lambda done, total: None)
    dtype = getattr(torch, config.dtype)
    if config.load_format == "dummy":
        fill_dummy(network, dtype, report, config.quantization)
    else:
        entries = weight_entries(Path(config.card.folder))
        fill_from_files(
            network,
            network.weights(),
            entries,
            dtype,
            report,
            scheme=config.quantization,
            copies=config.read_strategy == "eager",
        )
    return network.eval()


def build_network(config: EngineConfig) -> CausalLM:
    """The network with parameters that have a shape but no memory."""
    module, name = FAMILIES[config.card.model_type].network.split(":")
    network_class = getattr(importlib.import_module(f"quire.model.families.{module}"), name)
    keys = ConfigKeys(config.card.hf_config, str(Path(config.card.folder) / "config.json"))
    with torch.device("meta"):
        network: CausalLM = network_class(config, keys)
    return network
