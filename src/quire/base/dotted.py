"""Objects by their dotted path, for settings that name a class or function of the user's own."""

from __future__ import annotations

import importlib
from typing import Any

from quire.base.errors import ConfigError


def load_dotted(path: str, *, setting: str) -> Any:
    """The object called `package.module.name` or `package.module:Outer.name`. Raises ConfigError naming the option
    when there is none."""
    flag = "--" + setting.replace("_", "-")
    module, _, name = path.partition(":") if ":" in path else path.rpartition(".")
    if not module or not name:
        raise ConfigError(
            f"{flag}: {path!r} is not allowed; give a path such as package.module.name", setting=setting
        )
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except ImportError as problem:
        raise ConfigError(f"{flag}: {module} cannot be imported ({problem})", setting=setting) from None
    except AttributeError:
        raise ConfigError(f"{flag}: {module} has no {name}", setting=setting) from None
    return found


def dotted_path(thing: type) -> str:
    """The path under which `load_dotted` finds a class again. Raises ConfigError for one made inside a function."""
    if "<locals>" in thing.__qualname__:
        raise ConfigError(
            f"{thing.__qualname__} is made inside a function, where no other part of the program finds it: define it "
            "in a module"
        )
    return f"{thing.__module__}:{thing.__qualname__}"
