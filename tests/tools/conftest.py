"""Makes the built-in model's tools importable the way their own commands import them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tools/builtin_model"))
