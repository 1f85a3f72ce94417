"""Objects by their dotted path, for settings that name a class or function of the user's own."""

from __future__ import annotations

import importlib
from typing import Any

from quire.base.errors import ConfigError


def load_dotted(path: str, *, setting: str) -> Any:
    """The object called `package.module.name`. Raises ConfigError naming the option when there is none."""
    flag = "--" + setting.replace("_", "-")
    module, _, name = path.rpartition(".")
    if not module:
        raise ConfigError(
            f"{flag}: {path!r} is not allowed; give a path such as package.module.name", setting=setting
        )
    try:
        return getattr(importlib.import_module(module), name)
    except ImportError as problem:
        raise ConfigError(f"{flag}: {module} cannot be imported ({problem})", setting=setting) from None
    except AttributeError:
        raise ConfigError(f"{flag}: {module} has no {name}", setting=setting) from None
