"""The `--config` reader: a YAML file of long option names and values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quire.base.config.asked import Given, means_unset, read_value
from quire.base.config.table import Table, nearest
from quire.base.errors import ConfigError


def read_file(path: str, table: Table) -> dict[str, Given]:
    """Values of a config file. Raises ConfigError naming the file and the key."""
    layer: dict[str, Given] = {}
    for key, raw in _load(path).items():
        name = str(key).replace("_", "-")
        setting = table.by_dest.get(name.replace("-", "_"))
        if setting is None or not setting.has_flag or setting.name == "config":
            names = [known.name for known in table.all if known.has_flag and known.name != "config"]
            close = ", ".join(nearest(name, names, 3))
            raise ConfigError(f"{path}: {key} is not an option; the nearest are {close}", setting="config")
        if not means_unset(setting, raw):
            layer[setting.dest] = Given(read_value(setting, raw, f"{path}, {key}"), "file", path)
    return layer


def _load(path: str) -> dict[Any, Any]:
    try:
        import yaml
    except ImportError:
        raise ConfigError(
            "--config needs the package PyYAML: pip install 'quire[config]'", setting="config"
        ) from None
    try:
        loaded = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as problem:
        raise ConfigError(f"--config {path}: {problem.strerror}", setting="config") from None
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        first_line = " ".join(str(problem).split())
        raise ConfigError(f"--config {path} is not valid YAML: {first_line}", setting="config") from None
    if not isinstance(loaded, dict):
        raise ConfigError(f"--config {path} must hold option names and values", setting="config")
    return loaded
