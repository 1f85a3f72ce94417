"""Which libraries constrain tokens here. llguidance comes with Quire, the others are extras."""

from __future__ import annotations

from importlib.util import find_spec

from quire.base.constraints import GrammarBackend
from quire.base.errors import ConfigError

_PACKAGES: dict[GrammarBackend, str] = {
    "guidance": "llguidance",
    "xgrammar": "xgrammar",
    "outlines": "outlines_core",
}


def verify_backend(name: GrammarBackend) -> None:
    """Raises ConfigError when the library is not installed."""
    if find_spec(_PACKAGES[name]) is None:
        raise ConfigError(
            f"--structured-outputs-config.backend {name}: the package {_PACKAGES[name].replace('_', '-')} is not "
            f"installed; install quire[{name}], or leave it to guidance",
            setting="structured_outputs_config",
        )
