"""Parsers: options win over the chat template, and every choice is told."""

from __future__ import annotations

import pytest
from tests.base.config.conftest import make_card, make_machine

from quire.base.config import Asked, FoundParsers, resolve
from quire.base.errors import ConfigError

FOUND = FoundParsers("hermes", "the template says so", "qwen3", "it does")
NOTHING = FoundParsers("", "the template shows nothing", "", "nor this")


def run(*words: str, found: FoundParsers | None = FOUND):
    asked = Asked.from_arguments(words, {})
    return resolve(asked, make_card(), make_machine(), found_parsers=found)


def decided(resolution) -> dict[str, tuple[str, str, str]]:
    names = ("tool-call-parser", "reasoning-parser")
    return {
        one.setting: (one.choice, one.reason, one.override)
        for one in resolution.decisions
        if one.setting in names
    }


def server(resolution) -> tuple[str, str, bool]:
    config = resolution.server
    return config.tool_call_parser, config.reasoning_parser, config.enable_auto_tool_choice


def test_what_the_template_shows_is_taken_and_told():
    resolution = run()
    assert server(resolution) == ("hermes", "qwen3", True)
    assert decided(resolution) == {
        "tool-call-parser": ("hermes", "the template says so", "--tool-call-parser"),
        "reasoning-parser": ("qwen3", "it does", "--reasoning-parser"),
    }


def test_options_win_and_are_no_decisions():
    resolution = run("--tool-call-parser", "xlam", "--reasoning-parser", "none")
    assert server(resolution) == ("xlam", "", True)
    assert decided(resolution) == {}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--no-enable-auto-tool-choice",), ("hermes", "qwen3", False)),
        (("--enable-auto-tool-choice", "--tool-call-parser", "hermes"), ("hermes", "qwen3", True)),
        (("--tool-call-parser", "none"), ("", "qwen3", False)),
    ],
)
def test_automatic_tool_choice(words, expected):
    assert server(run(*words)) == expected


def test_nothing_known_is_told_and_cannot_be_switched_on():
    resolution = run(found=NOTHING)
    assert server(resolution) == ("", "", False)
    assert decided(resolution)["tool-call-parser"][0] == "none"
    assert decided(run(found=None)) == {}
    with pytest.raises(ConfigError, match="--tool-call-parser"):
        run("--enable-auto-tool-choice", found=NOTHING)
