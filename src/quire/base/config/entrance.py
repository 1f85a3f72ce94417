"""Who gets in, and how: TLS files and API keys of the HTTP server."""

from __future__ import annotations

from typing import Any

from quire.base.config.asked import Asked
from quire.base.errors import ConfigError


def entrance(asked: Asked) -> dict[str, Any]:
    """Fields of ServerConfig. Raises ConfigError for settings that make no sense without another."""
    for name in ("ssl_keyfile", "enable_ssl_refresh"):
        if asked[name] and not asked["ssl_certfile"]:
            raise ConfigError(f"--{name.replace('_', '-')} needs --ssl-certfile beside it", setting=name)
    if asked["ssl_cert_reqs"] and not asked["ssl_ca_certs"]:
        raise ConfigError(
            "--ssl-cert-reqs needs --ssl-ca-certs, which say whose certificates count",
            setting="ssl_cert_reqs",
        )
    keys: list[str] = asked["api_key"] or []
    if "" in keys:
        raise ConfigError(
            "--api-key is empty: give a key, or leave the option and VLLM_API_KEY out", setting="api_key"
        )
    return {
        "api_keys": keys,
        "api_key_file": asked["api_key_file"] or "",
        "ssl_keyfile": asked["ssl_keyfile"] or "",
        "ssl_certfile": asked["ssl_certfile"] or "",
        "ssl_ca_certs": asked["ssl_ca_certs"] or "",
        "ssl_cert_reqs": asked["ssl_cert_reqs"],
        "ssl_ciphers": asked["ssl_ciphers"] or "",
        "enable_ssl_refresh": asked["enable_ssl_refresh"],
    }
