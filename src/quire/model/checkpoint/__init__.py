"""Checkpoints: finding a model folder, reading its card, checking its files. Importing this loads no torch."""

from quire.model.checkpoint.card import read_card, read_generation_config, sampling_defaults
from quire.model.checkpoint.config_keys import ConfigKeys
from quire.model.checkpoint.headers import TensorEntry, verify_checkpoint, weight_entries
from quire.model.checkpoint.locate import BUILTIN_MODEL, builtin_folder, locate_model

__all__ = [
    "BUILTIN_MODEL",
    "ConfigKeys",
    "TensorEntry",
    "builtin_folder",
    "locate_model",
    "read_card",
    "read_generation_config",
    "sampling_defaults",
    "verify_checkpoint",
    "weight_entries",
]
