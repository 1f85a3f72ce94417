"""Where a worker's model may lie already: baked into the image, or in the cache on the platform's volume."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from quire.api.serverless.values import given
from quire.base.errors import ConfigError

BAKED_MODEL_FILE = Path("/local_model_args.json")  # written when an image is built with its model inside
CONFIG_FILE = Path("/vllm_config.yaml")  # read when no VLLM_CONFIG_FILE names another
DEFAULT_VOLUME = Path("/runpod-volume")
_BAKED_NAMES = ("MODEL_NAME", "TOKENIZER_NAME", "QUANTIZATION")
_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}


def with_model_files(
    environ: Mapping[str, str],
    *,
    baked: Path = BAKED_MODEL_FILE,
    config: Path = CONFIG_FILE,
    volume: Path = DEFAULT_VOLUME,
) -> dict[str, str]:
    """`environ` with what these files and folders add. Raises ConfigError for a damaged baked file."""
    found = dict(environ)
    if not given(found, "VLLM_CONFIG_FILE") and config.is_file():
        found["VLLM_CONFIG_FILE"] = str(config)
    _add_cache(found, volume)
    if baked.is_file():
        found |= _baked(baked) | _OFFLINE
    return found


def _baked(path: Path) -> dict[str, str]:
    """Its values win over the environment: the image holds this model and no other."""
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as problem:
        raise ConfigError(f"{path} cannot be read: {problem}; build the image again") from None
    if not isinstance(values, dict) or not values.get("MODEL_NAME"):
        raise ConfigError(f"{path} names no MODEL_NAME; build the image again")
    return {name: str(values[name]) for name in _BAKED_NAMES if values.get(name)}


def _add_cache(environ: dict[str, str], volume: Path) -> None:
    """Models are looked for, and put, on the volume, unless the environment names another place."""
    asked = given(environ, "BASE_PATH")
    base = Path(asked) if asked else volume
    if not asked and not base.is_dir():
        return
    cache = base / "huggingface-cache" / "hub"
    for name in ("HF_HOME", "HUGGINGFACE_HUB_CACHE", "HF_HUB_CACHE"):
        environ.setdefault(name, str(cache))
    _match_case(environ, Path(environ["HF_HUB_CACHE"]))


def _match_case(environ: dict[str, str], cache: Path) -> None:
    """The platform may store org/Name under other capitals; use that folder, keep the name clients ask for."""
    name = given(environ, "MODEL_NAME")
    if not name or Path(name).exists() or not cache.is_dir():
        return
    wanted = "models--" + name.replace("/", "--")
    if (cache / wanted).is_dir():
        return
    for folder in sorted(cache.iterdir()):
        if folder.name.lower() == wanted.lower():
            environ["MODEL_NAME"] = folder.name.removeprefix("models--").replace("--", "/", 1)
            if not given(environ, "SERVED_MODEL_NAME"):
                environ.setdefault("OPENAI_SERVED_MODEL_NAME_OVERRIDE", name)
            return
