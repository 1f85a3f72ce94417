"""TLS: the context connections are encrypted with, and certificates that are renewed while the server runs."""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import Any

from quire.api.server.file_stamp import LOOK_INTERVAL_S, FileStamp
from quire.base.config import ServerConfig
from quire.base.errors import ConfigError

logger = logging.getLogger("quire.server")


def tls_options(config: ServerConfig) -> dict[str, Any]:
    """uvicorn's keywords."""
    options: dict[str, Any] = {
        "ssl_keyfile": config.ssl_keyfile or None,
        "ssl_certfile": config.ssl_certfile or None,
        "ssl_ca_certs": config.ssl_ca_certs or None,
        "ssl_cert_reqs": config.ssl_cert_reqs,
    }
    if config.ssl_ciphers:
        options["ssl_ciphers"] = config.ssl_ciphers
    return options


def tls_refusal(config: ServerConfig, error: OSError) -> ConfigError:
    """What is said when uvicorn cannot use the files."""
    if isinstance(error, ssl.SSLError) and "CIPHER" in str(error).upper():
        return ConfigError(
            f"--ssl-ciphers: OpenSSL knows none of {config.ssl_ciphers!r}", setting="ssl_ciphers"
        )
    names = (config.ssl_certfile, config.ssl_keyfile, config.ssl_ca_certs)
    files = " and ".join(name for name in names if name)
    return ConfigError(
        f"cannot serve TLS with {files}: {error.strerror or error}; check --ssl-certfile, --ssl-keyfile and "
        "--ssl-ca-certs",
        setting="ssl_certfile",
    )


async def refresh_certificates(config: ServerConfig, context: ssl.SSLContext | None) -> None:
    """For ever: load certificate and key again when their files change. Connections that are open keep theirs."""
    if context is None or not config.enable_ssl_refresh:
        return
    stamp = FileStamp([config.ssl_certfile, config.ssl_keyfile or config.ssl_certfile])
    while True:
        await asyncio.sleep(LOOK_INTERVAL_S)
        if stamp.has_changed():
            load_again(config, context)


def load_again(config: ServerConfig, context: ssl.SSLContext) -> bool:
    """Whether the files could be used; where not, the old certificate stays."""
    try:
        context.load_cert_chain(config.ssl_certfile, config.ssl_keyfile or None)
    except OSError as problem:  # of half-written files, too: the next change is tried again
        logger.error(
            "the certificate in %s cannot be used (%s); the old one stays", config.ssl_certfile, problem
        )
        return False
    logger.info("certificate loaded again from %s", config.ssl_certfile)
    return True
