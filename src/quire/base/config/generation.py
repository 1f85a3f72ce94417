"""Default sampling parameters: the generation config's, and what overrides them."""

from __future__ import annotations

from typing import Any

from quire.base.config.asked import Asked
from quire.base.config.card import ModelCard
from quire.base.errors import ConfigError, InvalidValue
from quire.base.messages import GENERATION_CONFIG_FIELDS, SamplingParams


def sampling_defaults(asked: Asked, card: ModelCard) -> dict[str, Any]:
    """What a request that says nothing is sampled with, as SamplingParams fields. Raises ConfigError."""
    defaults = {} if asked["generation_config"] == "vllm" else dict(card.sampling_defaults)
    overrides: dict[str, Any] = asked["override_generation_config"]
    for name, value in overrides.items():
        field = GENERATION_CONFIG_FIELDS.get(name, name)  # a SamplingParams field is understood as well
        if field not in GENERATION_CONFIG_FIELDS.values():
            allowed = ", ".join(GENERATION_CONFIG_FIELDS)
            raise ConfigError(
                f"--override-generation-config: {name} is not a sampling default; give any of {allowed}",
                setting="override_generation_config",
            )
        defaults[field] = value
    try:
        SamplingParams(**defaults)
    except InvalidValue as problem:
        source = "--override-generation-config" if overrides else "generation_config.json"
        raise ConfigError(f"{source}: {problem.message}", setting="override_generation_config") from None
    return defaults
