"""The weight and KV formats this build offers: read off the settings table, so that none is left out or made up."""

from __future__ import annotations

from typing import Any

from quire.base.config import SETTINGS
from quire.base.errors import ConfigError

REFERENCE = "float32"


def offered(platform: str) -> dict[str, dict[str, Any]]:
    """Name → `LLM` keywords. Weights by `--dtype` and `--quantization`, the cache ("kv …") by `--kv-cache-dtype`."""
    found: dict[str, dict[str, Any]] = {}
    for dest, prefix in (("dtype", ""), ("quantization", ""), ("kv_cache_dtype", "kv ")):
        setting = SETTINGS.by_dest[dest]
        for choice in setting.kind.choices:
            # dtype's other words (auto, half, float) are second names
            is_second_name = choice == "auto" or (dest == "dtype" and not choice[-1].isdigit())
            if not is_second_name and setting.state_of(choice, platform).effect.value == "effective":
                found[prefix + choice] = {dest: choice}
    return found


def choose(names: list[str], platform: str) -> dict[str, dict[str, Any]]:
    """The formats of these names; all that are offered when none is given. Raises ConfigError for another name."""
    there = offered(platform)
    for name in names:
        if name not in there:
            raise ConfigError(f"--formats: {name!r} is not offered by this build; it has {', '.join(there)}")
    return {name: there[name] for name in names} if names else there
