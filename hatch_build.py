"""Build hook: compiles `native/` into the package, or installs without it where that cannot be done.

Quire runs without the library, on its reference ops; the reason is left beside the place of the library, where
`quire.model.ops.explain` finds it.
"""

from __future__ import annotations

import importlib.util
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class NativeBuildHook(BuildHookInterface):
    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        native = _build_script(root)
        reason_file = native.OUTPUT.with_name("not_built.txt")
        reason_file.unlink(missing_ok=True)
        try:
            native.build()
        except native.BuildError as error:
            native.OUTPUT.unlink(missing_ok=True)  # of an earlier build from other sources
            reason_file.write_text(f"{error}\n")
            self.app.display_warning(f"Quire is installed without native kernels: {error}")
            build_data["artifacts"].append(reason_file.relative_to(root).as_posix())
            return
        build_data["artifacts"].append(native.OUTPUT.relative_to(root).as_posix())
        build_data["pure_python"] = False
        # the library knows nothing of Python: one wheel serves every version
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"


def _build_script(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("quire_native_build", root / "native" / "build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
