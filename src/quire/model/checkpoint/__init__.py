"""Checkpoints: finding a model folder, reading its card, checking its files. Importing this loads no torch."""

from quire.model.checkpoint.card import read_card, read_generation_config, sampling_defaults
from quire.model.checkpoint.config_keys import ConfigKeys
from quire.model.checkpoint.headers import TensorEntry, verify_checkpoint, weight_entries
from quire.model.checkpoint.locate import BUILTIN_MODEL, DownloadOptions, builtin_folder, locate_model
from quire.model.checkpoint.pickled import pickled_files

__all__ = [
    "BUILTIN_MODEL",
    "ConfigKeys",
    "DownloadOptions",
    "TensorEntry",
    "builtin_folder",
    "locate_model",
    "pickled_files",
    "read_card",
    "read_generation_config",
    "sampling_defaults",
    "verify_checkpoint",
    "weight_entries",
]
