"""How Quire's own log lines look and where they go: one set-up for the server and the engine process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from quire.base.config import LogConfig
from quire.base.errors import ConfigError


def log_dictionary(config: LogConfig) -> dict[str, Any]:
    """For `logging.config.dictConfig`: the user's file, or the logger `quire` alone. Raises ConfigError."""
    if config.path:
        return _read(config.path)
    prefix = config.prefix.replace("%", "%%")
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"quire": {"format": f"{prefix}%(levelname)s %(message)s"}},
        "handlers": {
            "quire": {"class": "logging.StreamHandler", "formatter": "quire", "stream": config.stream}
        },
        "loggers": {"quire": {"handlers": ["quire"], "level": config.level, "propagate": False}},
    }


def set_up_logging(config: LogConfig) -> None:
    """Apply it to this process, unless the user keeps Python's logging for themselves. Raises ConfigError."""
    import logging.config

    if not config.is_ours:
        return
    try:
        logging.config.dictConfig(log_dictionary(config))
    except (ValueError, TypeError, AttributeError, ImportError) as problem:
        raise _unusable(config.path, str(problem)) from None


def _read(path: str) -> dict[str, Any]:
    try:
        dictionary = json.loads(Path(path).expanduser().read_text("utf-8"))
    except OSError as problem:
        raise _unusable(path, problem.strerror or str(problem)) from None
    except ValueError as problem:
        raise _unusable(path, f"it is not JSON ({problem})") from None
    if not isinstance(dictionary, dict):
        raise _unusable(path, "it must hold a JSON object")
    # Python's own default would silence every logger that was made before this moment
    return {"disable_existing_loggers": False, **dictionary}


def _unusable(path: str, reason: str) -> ConfigError:
    return ConfigError(
        f"VLLM_LOGGING_CONFIG_PATH: {path} cannot be used: {' '.join(reason.split())}; give a JSON file in the form "
        "of logging.config.dictConfig",
        setting="logging_config_path",
    )
