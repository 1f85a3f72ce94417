"""Objects by their dotted path, for settings that name a class or function of the user's own."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from quire.base.errors import ConfigError


def check_dotted(path: str, *, setting: str) -> None:
    """Raises ConfigError where there is no such module. Imports what it lies in, not the module itself: that may be
    meant for another process, and heavy."""
    flag = "--" + setting.replace("_", "-")
    module, _, name = path.rpartition(".")
    if not (module and name):
        raise ConfigError(
            f"{flag}: {path!r} is not allowed; give a path such as package.module.name", setting=setting
        )
    try:
        is_there = importlib.util.find_spec(module) is not None
    except (ImportError, ValueError) as problem:
        raise ConfigError(f"{flag}: {module} cannot be imported ({problem})", setting=setting) from None
    if not is_there:
        raise ConfigError(f"{flag}: there is no module {module}", setting=setting)


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
