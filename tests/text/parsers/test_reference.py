"""The committed page of formats equals what the tables say today."""

from pathlib import Path

from quire.text.parsers import REASONING_FORMATS, TOOL_FORMATS
from quire.text.parsers.reference import parsers_page

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "parsers.md"


def test_the_page_is_current():
    assert PAGE.read_text("utf-8") == parsers_page(), "run make docs"


def test_every_format_has_a_row():
    for name in (*TOOL_FORMATS, *REASONING_FORMATS):
        assert f"| `{name}` |" in parsers_page()
