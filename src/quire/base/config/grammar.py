"""How replies are held to a grammar: `--structured-outputs-config` and its variables as one struct."""

from __future__ import annotations

from typing import Any

from quire.base.config.asked import Asked
from quire.base.config.resolved import Decision
from quire.base.constraints import GrammarConfig
from quire.base.errors import ConfigError

SETTING = "structured_outputs_config"
MIB = 1 << 20


def choose_grammar(asked: Asked) -> tuple[GrammarConfig, list[Decision]]:
    """Raises ConfigError for a library Quire does not work with and for fields of the wrong type."""
    given = asked[SETTING] or {}
    backend: Any = given.get("backend") or "auto"
    decisions = []
    if backend == "auto":
        backend, reason = "guidance", "it compiles in milliseconds and bounds the work of every step"
        decisions.append(
            Decision("structured-outputs-config", backend, reason, "--structured-outputs-config.backend")
        )
    if backend not in ("guidance", "xgrammar", "outlines"):
        raise ConfigError(
            f"--structured-outputs-config.backend {str(backend)[:60]!r} is not supported; give auto, guidance, "
            "xgrammar or outlines",
            setting=SETTING,
        )
    switches = {
        name: _switch(given, name)
        for name in ("disable_any_whitespace", "disable_additional_properties", "enable_in_reasoning")
    }
    config = GrammarConfig(
        backend=backend,
        cache_bytes=asked["xgrammar_cache_mb"] * MIB,
        compile_timeout_s=asked["regex_compilation_timeout_s"],
        **switches,
    )
    return config, decisions


def _switch(given: dict[str, object], name: str) -> bool:
    value = given.get(name, False)
    if value in ("true", "false"):  # as `--structured-outputs-config.x true` has it
        return value == "true"
    if not isinstance(value, bool):
        raise ConfigError(
            f"--structured-outputs-config.{name} {str(value)[:60]!r} is not allowed; give true or false",
            setting=SETTING,
        )
    return value
