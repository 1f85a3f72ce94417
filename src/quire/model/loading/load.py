"""Builds the network without memory, then fills each parameter straight from the mapped files."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch

from quire.base.config import EngineConfig
from quire.base.errors import CheckpointError
from quire.model.checkpoint import ConfigKeys
from quire.model.families import FAMILIES
from quire.model.layers import Network, PooledNetwork
from quire.model.loading.dummy import fill_dummy
from quire.model.loading.fill import fill_from_files
from quire.model.loading.packed_cache import PackedCache, cache_for
from quire.model.loading.place import restore, take
from quire.model.loading.weight_files import WeightFiles, open_weights

logger = logging.getLogger(__name__)
Report = Callable[[int, int], None]  # (bytes done, bytes in all)


def load_model(config: EngineConfig, report: Report | None = None) -> Network:
    """The network of `config.card` in `config.dtype`. Raises CheckpointError naming a tensor that is missing,
    left over or of the wrong shape. `load_format` dummy fills small deterministic weights without files."""
    network = build_network(config)
    report = report or (lambda done, total: None)
    dtype = getattr(torch, config.dtype)
    if config.load_format == "dummy":
        fill_dummy(network, dtype, report, config.quantization)
        return network.eval()
    files = open_weights(Path(config.card.folder), config.load_format)
    cache = cache_for(config, network, files.entries)
    if cache is not None:
        weights = cache.read(report)
        if weights is None and _write_cache(cache, config, files, report):
            weights = cache.read(lambda done, total: None)
        if weights is not None:
            for name, weight in weights.items():
                restore(network, name, weight, config.quantization)
            return network.eval()
    _fill(network, config, files, report)
    return network.eval()


def _fill(
    network: Network,
    config: EngineConfig,
    files: WeightFiles,
    report: Report,
    placed: Callable[[str], None] = lambda name: None,
) -> None:
    fill_from_files(
        network,
        network.weights(),
        files,
        getattr(torch, config.dtype),
        report,
        scheme=config.quantization,
        copies=config.read_strategy == "eager",
        placed=placed,
    )


def _write_cache(cache: PackedCache, config: EngineConfig, files: WeightFiles, report: Report) -> bool:
    """Packs weight by weight into the cache's file, so that one of them is in memory at a time. False, with a line
    in the log, when the file cannot be written."""
    network = build_network(config)
    started_s = time.monotonic()
    try:
        with cache.writer() as writer:
            _fill(network, config, files, report, lambda name: writer.add(name, take(network, name)))
    except OSError as problem:
        logger.warning("weights are packed without a cache: %s cannot be written (%s)", cache.path, problem)
        return False
    logger.info("packed weights written to %s in %.1f s", cache.path, time.monotonic() - started_s)
    return True


def drop_file_pages(config: EngineConfig) -> None:
    """Ask the system to keep no pages of the weights' files in memory. Files that cannot be read are no error."""
    if config.load_format == "dummy":
        return
    with contextlib.suppress(CheckpointError, OSError):
        entries = open_weights(Path(config.card.folder), config.load_format).entries
        files = {entry.file for entry in entries.values()}
        if cache := cache_for(config, build_network(config), entries):
            files.add(cache.path)
        for file in files:
            with contextlib.suppress(OSError), file.open("rb") as stream:
                os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def build_network(config: EngineConfig) -> Network:
    """The network with parameters that have a shape but no memory; a pooled one in place of a language model where
    the configuration says so."""
    module, name = FAMILIES[config.card.model_type].network.split(":")
    network_class = getattr(importlib.import_module(f"quire.model.families.{module}"), name)
    keys = ConfigKeys(config.card.hf_config, str(Path(config.card.folder) / "config.json"))
    with torch.device("meta"):
        network: Network = network_class(config, keys)
        if config.pooler is None:
            return network
        return PooledNetwork(network, config.pooler, config.card.hidden_size, _head_rows(config))


def _head_rows(config: EngineConfig) -> list[int] | None:
    """Which rows of the head make a classifier. Raises CheckpointError for a token outside the vocabulary."""
    assert config.pooler is not None
    if config.pooler.head != "from_tokens":
        return None
    rows = []
    for token in config.pooler.head_tokens:
        row = token if isinstance(token, int) else _token_id(config, token)
        if row is None or row >= config.card.vocab_size:
            raise CheckpointError(
                f"{config.card.folder}: the tokenizer has no token {token!r}, which classifier_from_token (or "
                "returned_token_ids) names"
            )
        rows.append(row)
    return rows


def _token_id(config: EngineConfig, token: str) -> int | None:
    from tokenizers import Tokenizer

    row: int | None = Tokenizer.from_file(str(Path(config.text_folder) / "tokenizer.json")).token_to_id(token)
    return row
