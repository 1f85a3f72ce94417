"""Parsers: options win over the chat template, and every choice is told."""

from __future__ import annotations

import json

import pytest
from tests.base.config.conftest import make_card, make_machine

from quire.base.config import Asked, FoundParsers, reasoning_plugin, resolve
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


@pytest.mark.parametrize(
    "words",
    [
        ("--reasoning-config.reasoning_parser", "olmo3"),
        ("--structured-outputs-config.reasoning_parser", "olmo3"),
        ("--reasoning-parser", "olmo3", "--reasoning-config.reasoning_parser", "olmo3"),
    ],
)
def test_a_field_may_say_what_the_option_says(words):
    assert run(*words).server.reasoning_parser == "olmo3"
    assert run("--reasoning-config.reasoning_parser", "none").server.reasoning_parser == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--reasoning-parser", "qwen3", "--reasoning-config.reasoning_parser", "olmo3"),
            "--reasoning-parser and --reasoning-config.reasoning_parser differ",
        ),
        (
            ("--reasoning-config", '{"reasoning_end_str": ["x"]}'),
            "reasoning_end_str .* is not allowed; give text",
        ),
        (
            ("--reasoning-parser", "none", "--reasoning-config.reasoning_end_str", "x"),
            "--reasoning-config needs a reasoning parser",
        ),
        (("--reasoning-config.reasoning_and", "x"), "'reasoning_and' is not a field"),
    ],
)
def test_what_a_reasoning_config_cannot_say(words, message):
    with pytest.raises(ConfigError, match=message):
        run(*words)


def test_marks_of_reasoning_go_to_the_server():
    marks = {"reasoning_start_str": "Hm:", "reasoning_end_str": "Enough.</think>"}
    server = run("--reasoning-config", json.dumps(marks)).server
    assert (server.reasoning_start, server.reasoning_end) == ("Hm:", "Enough.</think>")


def test_a_plugin_may_be_named_by_a_field():
    def plugin(*words: str) -> str:
        return reasoning_plugin(Asked.from_arguments(words, {}))

    field = ("--structured-outputs-config.reasoning_parser_plugin", "a.py")
    assert plugin() == ""
    assert plugin(*field) == plugin("--reasoning-parser-plugin", "a.py") == "a.py"
    assert plugin(*field, "--reasoning-parser-plugin", "a.py") == "a.py"
    with pytest.raises(ConfigError, match="differ"):
        plugin(*field, "--reasoning-parser-plugin", "b.py")


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
