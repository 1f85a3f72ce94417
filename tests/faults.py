"""Makes the plug-ins of tools/reliability reachable for child processes, as an installed package is."""

from __future__ import annotations

import sys
from pathlib import Path

PLUGINS = Path(__file__).parents[1] / "tools" / "reliability" / "plugins"


def plugin_environment(**faults: str) -> dict[str, str]:
    """Environment variables with which a process finds the plug-ins; naming them is VLLM_PLUGINS' or the caller's."""
    return {"PYTHONPATH": ":".join([str(PLUGINS), *filter(None, sys.path)]), **faults}
