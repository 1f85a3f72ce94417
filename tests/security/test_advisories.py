"""T-01 to T-37: each is guarded by a test of this folder that says so."""

from __future__ import annotations

import ast
import re
from pathlib import Path

NUM_ADVISORIES = 37


def named(source: str) -> set[int]:
    """Numbers that the docstrings of a file's tests name, "T-11 to T-15" meaning all five."""
    found: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_"):
            text = ast.get_docstring(node) or ""
            found |= {int(number) for number in re.findall(r"T-(\d\d)", text)}
            for first, last in re.findall(r"T-(\d\d) to T-(\d\d)", text):
                found |= set(range(int(first), int(last) + 1))
    return found


def test_every_advisory_has_a_test_that_names_it() -> None:
    guarded = set[int]().union(*(named(path.read_text()) for path in Path(__file__).parent.glob("test_*.py")))
    assert guarded >= set(range(1, NUM_ADVISORIES + 1)), f"no test names {guarded ^ set(range(1, 38))}"


def test_what_a_docstring_names() -> None:
    assert named('def test_a():\n    """T-03, T-05 to T-07."""') == {3, 5, 6, 7}
    assert named('def helper():\n    """T-03."""') == set()
