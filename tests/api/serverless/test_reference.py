"""The committed page of variables equals what the code says today."""

from __future__ import annotations

import re
from pathlib import Path

from quire.api.serverless import serverless_page
from quire.api.serverless.mapping import all_variables
from quire.api.serverless.reference import STATES

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "serverless.md"


def test_the_page_is_current():
    assert PAGE.read_text("utf-8") == serverless_page(), "run make docs"


def test_every_variable_has_one_row_and_a_state():
    rows = re.findall(r"^\| `(\w+)` \| .*? \| ([a-z ]+) \| .+ \|$", serverless_page(), re.MULTILINE)
    assert sorted(name for name, _ in rows) == sorted(variable.name for variable in all_variables())
    assert {state for _, state in rows} <= set(STATES)
