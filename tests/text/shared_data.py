"""Real vocabularies and templates that are not part of the repository: a folder `shared/data` beside the checkout."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / "shared" / "data"

needs_shared_data = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="real vocabularies and templates are not here (../shared/data)"
)
