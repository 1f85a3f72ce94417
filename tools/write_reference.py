"""Writes the generated pages of docs/reference (`make docs`); with `--check` only says whether they are current."""

from __future__ import annotations

import sys
from pathlib import Path

from quire.api.serverless import serverless_page
from quire.base.config import SETTINGS
from quire.base.config.reference import settings_page
from quire.text.parsers.reference import parsers_page

FOLDER = Path(__file__).parent.parent / "docs" / "reference"
PAGES = {
    "settings.md": lambda: settings_page(SETTINGS),
    "parsers.md": parsers_page,
    "serverless.md": serverless_page,
}


def main() -> int:
    """Write every page, or with --check compare and return 1 when one differs."""
    stale = []
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, make in PAGES.items():
        path, text = FOLDER / name, make()
        if path.exists() and path.read_text("utf-8") == text:
            continue
        stale.append(name)
        if "--check" not in sys.argv:
            path.write_text(text, "utf-8")
            print(f"wrote {path}")
    if "--check" in sys.argv and stale:
        print(f"not current: {', '.join(stale)}; run make docs")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
