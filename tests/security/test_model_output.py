"""T-07, T-21: text the model writes is never run, whatever tool format it is in, and takes linear time to read. (With
more texts, and up to a megabyte: tests/text/parsers/test_hostile.py.)"""

from __future__ import annotations

from pathlib import Path

import pytest

from quire.text.parsers import TOOL_FORMATS
from tests.security.conftest import writes_canary
from tests.text.parsers.test_hostile import PAIRS, assert_linear
from tests.text.parsers.transcripts import CALLS_BY_FORMAT, parser

TOOLS = sorted(TOOL_FORMATS)


@pytest.mark.parametrize("tools", TOOLS)
def test_code_in_a_call_stays_text(tools: str, canary: Path) -> None:
    """T-07: CVE-2025-9141: arguments that are Python come out as text or are reported, and nothing runs."""
    code = f"__import__('builtins').{writes_canary(canary)}"
    for hostile in (code, f"[{code}]", f'"{code}"', f"{{'a': {code}}}", f"(lambda: {code})()"):
        text = CALLS_BY_FORMAT[tools].replace("Rome", hostile).replace('"Rome"', hostile)
        one = parser(tools, "")
        one.feed(text)
        one.finish()
    assert not canary.exists()


@pytest.mark.parametrize(("tools", "reasoning"), PAIRS)
def test_brackets_take_linear_time(tools: str, reasoning: str) -> None:
    """T-21: CVE-2025-48887 and other backtracking patterns."""
    for unit in ("[", '{"a":'):
        assert_linear(tools, reasoning, "", unit, 10_000, 10_000)


@pytest.mark.parametrize("tools", TOOLS)
def test_lone_surrogates_and_controls_pass(tools: str) -> None:
    """T-07."""
    for piece in ("\ud800", "\udfff", "\x00", "\ufeff", "\u202e", "\x1b[2J"):
        text = CALLS_BY_FORMAT[tools].replace("Rome", piece * 100)
        one = parser(tools, "")
        one.feed(text)
        one.finish()
