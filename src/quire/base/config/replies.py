"""Settings of the HTTP side that go from what was asked into ServerConfig as they are, or after a check."""

from __future__ import annotations

from typing import Any

from quire.base.config.asked import Asked
from quire.base.errors import ConfigError

# fields of ServerConfig that are called as their setting is
SAME_NAME = (
    "port",
    "root_path",
    "chat_template",
    "default_chat_template_kwargs",
    "response_role",
    "enable_prompt_tokens_details",
    "enable_request_id_headers",
    "enable_log_requests",
    "uvicorn_log_level",
    "allowed_origins",
    "allowed_methods",
    "allowed_headers",
    "allow_credentials",
    "middleware",
    "max_num_queued_reqs",
    "max_num_queued_tokens",
    "overload_status",
    "trust_request_chat_template",
    "exclude_tools_when_tool_choice_none",
    "return_tokens_as_token_ids",
    "enable_force_include_usage",
    "enable_per_request_metrics",
    "enable_log_outputs",
    "enable_log_deltas",
    "enable_tokenizer_info_endpoint",
    "enable_scale_out",
    "tokens_only",
    "enable_prompt_embeds",
    "fingerprint_mode",
)


def effort_map(asked: Asked) -> dict[str, str | dict[str, Any]]:
    """Raises ConfigError for an effort that comes to neither a word nor template variables."""
    given: dict[str, Any] = asked["reasoning_effort_map"]
    for effort, value in given.items():
        if not isinstance(value, str | dict):
            raise ConfigError(
                f"--reasoning-effort-map: {effort} must be a text or an object of template variables, got {value!r}",
                setting="reasoning_effort_map",
            )
    return given


def fingerprint_value(asked: Asked) -> str:
    """Raises ConfigError where it would be shown nowhere."""
    value: str = asked["fingerprint_value"] or ""
    if value and asked["fingerprint_mode"] != "custom":
        raise ConfigError(
            "--fingerprint-value needs --fingerprint-mode custom beside it", setting="fingerprint_value"
        )
    return value
