"""The committed reference page equals what the table says today."""

from __future__ import annotations

from pathlib import Path

from quire.base.config import SETTINGS
from quire.base.config.reference import settings_page

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "settings.md"


def test_the_page_is_current():
    assert PAGE.read_text("utf-8") == settings_page(SETTINGS), "run make docs"


def test_every_option_and_variable_is_on_the_page():
    page = settings_page(SETTINGS)
    for setting in SETTINGS.all:
        assert not setting.has_flag or f"`{setting.flag}`" in page
        assert all(f"`{variable}`" in page for variable in setting.environment_names)
