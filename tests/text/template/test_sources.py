"""Where a chat template is found, and what happens when it is broken or absent."""

from __future__ import annotations

import json

import pytest

from quire.base.errors import CheckpointError, ConfigError
from quire.text.template import ChatTemplate, find_templates

USER = [{"role": "user", "content": "hi"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}


def write_config(folder, **fields):
    (folder / "tokenizer_config.json").write_text(json.dumps(fields), encoding="utf-8")


def test_no_template_anywhere(tmp_path):
    assert find_templates(tmp_path) == {}
    assert ChatTemplate.load(tmp_path) is None


def test_newer_places_win_over_older_ones(tmp_path):
    write_config(tmp_path, chat_template="from config")
    assert ChatTemplate.load(tmp_path).render(USER) == "from config"
    (tmp_path / "chat_template.json").write_text('{"chat_template": "from json"}')
    assert ChatTemplate.load(tmp_path).render(USER) == "from json"
    (tmp_path / "chat_template.jinja").write_text("from jinja")
    assert ChatTemplate.load(tmp_path).render(USER) == "from jinja"
    (tmp_path / "additional_chat_templates").mkdir()
    (tmp_path / "additional_chat_templates" / "tool_use.jinja").write_text("with tools")
    assert ChatTemplate.load(tmp_path).render(USER) == "from jinja"
    assert ChatTemplate.load(tmp_path).render(USER, tools=[TOOL]) == "with tools"


def test_named_templates_and_their_choice(tmp_path):
    named = [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "tools"}]
    write_config(tmp_path, chat_template=[*named, {"name": "rag", "template": "documents"}])
    template = ChatTemplate.load(tmp_path)
    assert template.render(USER) == "plain"
    assert template.render(USER, tools=[]) == "plain"
    assert template.render(USER, tools=[TOOL]) == "tools"
    assert ChatTemplate.load(tmp_path, "rag").render(USER, tools=[TOOL]) == "documents"


def test_override_by_path_and_by_text(tmp_path):
    write_config(tmp_path, chat_template="own", bos_token="<s>")
    path = tmp_path / "other.jinja"
    path.write_text("{{ bos_token }}from file", encoding="utf-8")
    assert ChatTemplate.load(tmp_path, str(path)).render(USER) == "<s>from file"
    assert ChatTemplate.load(tmp_path, "{{ bos_token }}text").render(USER) == "<s>text"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("no/such/file", "no such file"),
        ("{% for %}", "not a valid template"),
        ("{{ 'a' | nofilter }}", "nofilter"),
    ],
)
def test_a_broken_override_names_the_flag(tmp_path, override, message):
    with pytest.raises(ConfigError, match=f"--chat-template.*{message}") as caught:
        ChatTemplate.load(tmp_path, override)
    assert caught.value.setting == "chat_template"


def test_an_unreadable_override_names_the_flag(tmp_path):
    path = tmp_path / "latin.jinja"
    path.write_bytes(b"caf\xe9")
    with pytest.raises(ConfigError, match="cannot be read"):
        ChatTemplate.load(tmp_path, str(path))


@pytest.mark.parametrize(
    "value", [5, [1], [{"name": "default"}], {"name": 1}, [{"name": "a", "template": None}]]
)
def test_a_template_field_of_the_wrong_shape_is_named(tmp_path, value):
    write_config(tmp_path, chat_template=value)
    with pytest.raises(CheckpointError, match=r"tokenizer_config\.json: chat_template must be"):
        ChatTemplate.load(tmp_path)


def test_a_broken_template_of_the_model_says_how_to_go_on(tmp_path):
    write_config(tmp_path, chat_template="{% if %}")
    with pytest.raises(CheckpointError, match="start with --chat-template"):
        ChatTemplate.load(tmp_path)
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff\xfe")
    with pytest.raises(CheckpointError, match=r"chat_template\.jinja cannot be read"):
        ChatTemplate.load(tmp_path)
