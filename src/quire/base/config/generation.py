"""Default sampling parameters: the generation config's, and what overrides them."""

from __future__ import annotations

from typing import Any

from quire.base.config.asked import Asked
from quire.base.config.card import ModelCard
from quire.base.errors import ConfigError, InvalidValue
from quire.base.messages import SamplingParams

# names as in generation_config.json → SamplingParams' fields; the latter are understood as well
FIELDS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "repetition_penalty": "repetition_penalty",
    "max_new_tokens": "max_tokens",
}


def sampling_defaults(asked: Asked, card: ModelCard) -> dict[str, Any]:
    """What a request that says nothing is sampled with, as SamplingParams fields. Raises ConfigError."""
    defaults = {} if asked["generation_config"] == "vllm" else dict(card.sampling_defaults)
    overrides: dict[str, Any] = asked["override_generation_config"]
    for name, value in overrides.items():
        field = FIELDS.get(name, name)
        if field not in FIELDS.values():
            allowed = ", ".join(FIELDS)
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
