"""Conversations in the shapes the API brings them, and what a template may be told."""

from __future__ import annotations

import pytest

from quire.base.errors import InvalidValue, Unsupported
from quire.text.template import RESERVED_KWARGS, ChatTemplate

SHOWS_CONTENT = "{% for m in messages %}{{ m.role }}={{ m.content }};{% endfor %}"
ITERATES_PARTS = (
    "{% for m in messages %}{% for part in m['content'] %}<{{ part.text }}>{% endfor %}{% endfor %}"
)
TAKES_BOTH = (
    "{% for m in messages %}{% set parts = m.content %}{% if parts is string %}{{ parts }}{% else %}"
    "{% for part in parts %}<{{ part['text'] }}>{% endfor %}{% endif %}{% endfor %}"
)
IN_A_MACRO = (
    "{% macro show(content) %}{% for part in content | list %}({{ part.text }}){% endfor %}{% endmacro %}"
    "{{ show(messages[0].content) }}"
)
PARTS = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]


def render(source, *messages, **options):
    return ChatTemplate({"default": source}).render(list(messages), **options)


def user(content):
    return {"role": "user", "content": content}


def test_parts_become_one_text_where_the_template_wants_text():
    assert render(SHOWS_CONTENT, user(PARTS)) == "user=a\nb;"
    assert render(SHOWS_CONTENT, user([])) == "user=;"
    assert render(SHOWS_CONTENT, user(None)) == render(SHOWS_CONTENT, {"role": "user"}) == "user=;"


def test_parts_stay_parts_where_the_template_loops_over_them():
    assert render(ITERATES_PARTS, user(PARTS)) == "<a><b>"
    assert render(ITERATES_PARTS, user("text")) == "<text>"
    assert render(TAKES_BOTH, user(PARTS)) == "<a><b>"
    assert render(TAKES_BOTH, user("text")) == "text"
    assert render(IN_A_MACRO, user(PARTS)) == "(a)(b)"


def test_other_text_parts_are_text():
    parts = [
        {"type": "input_text", "text": "in"},
        {"type": "output_text", "text": "out"},
        {"type": "refusal", "refusal": "no"},
        {"text": "untyped"},
        "bare",
    ]
    assert render(SHOWS_CONTENT, user(parts)) == "user=in\nout\nno\nuntyped\nbare;"


@pytest.mark.parametrize("kind", ["image_url", "input_audio", "video_url", "file", "nonsense"])
def test_parts_that_are_no_text_are_refused_by_name(kind):
    with pytest.raises(Unsupported, match=rf"messages\[1\]\.content\[0\]\.type '{kind}'") as caught:
        render(SHOWS_CONTENT, user("x"), user([{"type": kind, kind: {"url": "data:"}}]))
    assert caught.value.field == "messages"


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "at least one"),
        ({}, "list of at least one"),
        (["hi"], r"messages\[0\] must be an object"),
        ([{"content": "x"}], r"messages\[0\]\.role"),
        ([{"role": 1, "content": "x"}], r"messages\[0\]\.role"),
        ([user(5)], r"messages\[0\]\.content must be text"),
        ([user([5])], r"messages\[0\]\.content\[0\] must be an object"),
        ([user([{"type": "text"}])], r"messages\[0\]\.content\[0\]\.text must be a string"),
        ([user([{"type": 5, "text": "x"}])], "type must be a string"),
        ([{"role": "assistant", "tool_calls": {}}], r"tool_calls must be a list"),
        ([{"role": "assistant", "tool_calls": ["x"]}], r"tool_calls must be a list"),
        ([{"role": "user", "content": "x", "extra": object()}], "plain JSON"),
    ],
)
def test_misshapen_messages_name_the_place(messages, message):
    with pytest.raises(InvalidValue, match=message) as caught:
        ChatTemplate({"default": SHOWS_CONTENT}).render(messages)
    assert caught.value.field == "messages"


def call_with(arguments):
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"function": {"name": "f", "arguments": arguments}}],
    }


def test_tool_call_arguments_become_objects():
    source = "{{ messages[0].tool_calls[0].function.arguments | tojson }}{{ messages[0].content }}"
    assert render(source, call_with('{"a": [1, "é"]}')) == '{"a": [1, "é"]}'
    assert render(source, call_with({"a": 1})) == '{"a": 1}'
    assert render(source, call_with("")) == render(source, call_with(None)) == "{}"
    original = call_with('{"a": 1}')
    render(source, original)
    assert original == call_with('{"a": 1}')


@pytest.mark.parametrize("arguments", ["{", "[1]", "1", '"x"', [1], "[" * 100_000])
def test_tool_call_arguments_that_are_no_object_name_the_place(arguments):
    with pytest.raises(
        InvalidValue, match=r"messages\[0\]\.tool_calls\[0\]\.function\.arguments must be a JSON object"
    ):
        render("x", call_with(arguments))


def test_reasoning_is_seen_under_each_of_its_names():
    source = "{{ messages[0].reasoning_content }}/{{ messages[0].thinking }}"
    for name in ("reasoning", "reasoning_content", "thinking"):
        assert render(source, {"role": "assistant", "content": "x", name: "so"}) == "so/so"


@pytest.mark.parametrize("name", sorted(RESERVED_KWARGS))
def test_reserved_template_kwargs_are_refused_by_name(name):
    with pytest.raises(InvalidValue, match=f"'{name}'") as caught:
        render("x", user("hi"), template_kwargs={name: 1})
    assert caught.value.field == "chat_template_kwargs"


def test_template_kwargs_reach_the_template():
    source = "{{ bos_token }}{{ enable_thinking }}{{ documents }}"
    template = ChatTemplate({"default": source}, {"bos_token": "<s>"})
    assert template.render([user("x")], template_kwargs={"enable_thinking": False}) == "<s>FalseNone"
    assert template.render([user("x")], template_kwargs={"bos_token": "", "documents": [1]}) == "[1]"
    with pytest.raises(InvalidValue, match="plain JSON"):
        template.render([user("x")], template_kwargs={"enable_thinking": print})


def test_refusals_of_the_template_are_the_callers_to_mend():
    with pytest.raises(InvalidValue, match="refuses these messages: system first") as caught:
        render("{{ raise_exception('system first') }}", user("x"))
    assert caught.value.field == "messages"
    with pytest.raises(InvalidValue, match="fails on these messages: TypeError") as caught:
        render("{{ messages[0].content + 1 }}", user("x"))
    assert caught.value.field == "messages"


def test_continuing_needs_a_final_text_that_the_template_prints():
    options = {"continue_final_message": True, "add_generation_prompt": False}
    assert render(SHOWS_CONTENT, user("a"), user("go on"), **options) == "user=a;user=go on"
    assert render(ITERATES_PARTS, user(PARTS), **options) == "<a><b"
    with pytest.raises(InvalidValue, match="does not print"):
        render("{{ messages[0].role }}", user("go on"), **options)
    with pytest.raises(InvalidValue, match="needs text"):
        render(ITERATES_PARTS, user([]), **options)
    with pytest.raises(InvalidValue, match="add_generation_prompt=false") as caught:
        render(SHOWS_CONTENT, user("go on"), continue_final_message=True)
    assert caught.value.field == "continue_final_message"


def test_a_template_given_with_a_request_replaces_the_models():
    template = ChatTemplate({"default": "own", "short": "named"}, {"bos_token": "<s>"})
    assert template.replaced_by("{{ bos_token }}given").render([user("x")]) == "<s>given"
    assert template.replaced_by("short").render([user("x")]) == "named"
    for number in range(50):
        assert template.replaced_by(f"{{# {number} #}}{number}").render([user("x")]) == str(number)
    with pytest.raises(InvalidValue, match="not a valid template"):
        template.replaced_by("{% if %}")


def test_a_model_with_named_templates_only_says_so():
    with pytest.raises(InvalidValue, match="no default chat template, only rag"):
        ChatTemplate({"rag": "x"}).render([user("x")])
