"""Published chat templates, and small ones with the same habits: transformers' renderer is the oracle."""

from __future__ import annotations

from typing import Any

import pytest

from quire.base.errors import InvalidValue
from quire.text.template import ChatTemplate
from tests.text.shared_data import FOLDER

TEMPLATES = sorted(path.name for path in (FOLDER / "chat_templates").glob("*.jinja"))
SPECIALS = {"bos_token": "<s>", "eos_token": "</s>"}
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather <now> in a city – “today”",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "Name"},
                "days": {"type": ["integer", "null"], "enum": [1, 2], "default": 1},
                "units": {"type": "array", "items": {"type": "string"}},
            },
            "required": ["city"],
        },
    },
}
TIME = {
    "type": "function",
    "function": {
        "name": "time",
        "description": "What time it is.",
        "parameters": {"type": "object", "properties": {"zone": {"type": "string", "description": "Zone"}}},
    },
}
CALL = {
    "id": "call12345",
    "type": "function",
    "function": {"name": "weather", "arguments": {"city": "Köln", "days": 2}},
}
SYSTEM = {"role": "system", "content": "Be <brief> & kind. Grüße 你好"}
USER = {"role": "user", "content": "Hi!  "}
ASSISTANT = {"role": "assistant", "content": "<think>\nhm\n</think>\n\nHello there. "}
TOOL_TURN = [
    {"role": "user", "content": "Weather?"},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "content": '{"sky": "blue"}', "tool_call_id": "call12345", "name": "weather"},
]
CONVERSATIONS: dict[str, list[dict[str, Any]]] = {
    "user": [USER],
    "system": [SYSTEM, USER],
    "turns": [SYSTEM, USER, ASSISTANT, {"role": "user", "content": "And now?"}],
    "reasoning": [USER, {**ASSISTANT, "reasoning_content": "so"}, {"role": "user", "content": "ok"}],
    "tools": TOOL_TURN,
    "after tools": [*TOOL_TURN, {"role": "assistant", "content": "Blue."}, USER],
    "wrong order": [ASSISTANT, ASSISTANT],
}
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "no prompt": {"add_generation_prompt": False},
    "tools": {"tools": [WEATHER]},
    "simple tools": {"tools": [TIME, TIME]},
    "thinking off": {"template_kwargs": {"enable_thinking": False, "thinking": False}},
}


def rendered_by_transformers(
    source: str, messages: list[dict[str, Any]], options: dict[str, Any]
) -> str | None:
    """None where the template itself refuses or fails."""
    oracle = pytest.importorskip(
        "transformers.utils.chat_template_utils", reason="transformers is the oracle here"
    )
    options = {"add_generation_prompt": True, **options}
    extra = options.pop("template_kwargs", {})
    try:
        texts, _ = oracle.render_jinja_template(
            [messages], chat_template=source, **options, **SPECIALS, **extra
        )
    except Exception:  # noqa: BLE001  (whatever it is, ours must refuse too)
        return None
    return str(texts[0])


def rendered_by_us(source: str, messages: list[dict[str, Any]], options: dict[str, Any]) -> str | None:
    try:
        return ChatTemplate({"default": source}, SPECIALS).render(messages, **options)
    except InvalidValue:
        return None


@pytest.mark.skipif(not TEMPLATES, reason="real templates are not here (../shared/data/chat_templates)")
@pytest.mark.parametrize("name", TEMPLATES or ["none"])
def test_published_templates_render_as_in_transformers(name):
    source = (FOLDER / "chat_templates" / name).read_text(encoding="utf-8")
    num_rendered = 0
    for label, messages in CONVERSATIONS.items():
        for how, options in OPTIONS.items():
            expected = rendered_by_transformers(source, messages, options)
            assert rendered_by_us(source, messages, options) == expected, (label, how)
            num_rendered += expected is not None
    assert num_rendered >= 5  # else agreement in refusing would prove little


@pytest.mark.skipif(not TEMPLATES, reason="real templates are not here (../shared/data/chat_templates)")
@pytest.mark.parametrize("name", TEMPLATES or ["none"])
@pytest.mark.parametrize("ending", ["The sky", "The sky is ", "The"])
def test_published_templates_continue_as_in_transformers(name, ending):
    source = (FOLDER / "chat_templates" / name).read_text(encoding="utf-8")
    messages = [USER, {"role": "assistant", "content": ending}]
    options = {"continue_final_message": True, "add_generation_prompt": False}
    assert rendered_by_us(source, messages, options) == rendered_by_transformers(source, messages, options)


OWN = {
    "whitespace": """
    {%- for m in messages %}
        {% if loop.first %}
    first
        {% endif %}
  {{ m.role }}:  {{ m.content | trim }}
    {% endfor %}
end""",
    "loop controls": "{% for m in messages %}{% if loop.index > 2 %}{% break %}{% endif %}{% if m.role == 'system' %}"
    "{% continue %}{% endif %}{{ loop.index0 }}{{ m.content }}{{ loop.last }}{% endfor %}",
    "tojson": "{% if tools %}{{ tools | tojson }}{{ tools | tojson(indent=4) }}"
    "{{ tools | tojson(sort_keys=true, separators=(',', ':')) }}{% endif %}{{ messages[0] | tojson }}",
    "generation": "{% for m in messages %}{% generation %}{% set x = m.content %}{{ x }}{% endgeneration %}"
    "{{ x is defined }}{% endfor %}",
    "namespace": "{% set ns = namespace(n=0, last='') %}{% for m in messages %}{% set ns.n = ns.n + 1 %}"
    "{% set ns.last = ns.last ~ m.role ~ loop.revindex %}{% endfor %}{{ ns.n }}{{ ns.last }}",
    "macros": "{% macro show(m, sep='|') -%}{{ m.role }}{{ sep }}{{ m.content }}{%- endmacro %}"
    "{% for m in messages %}{{ show(m) }}{{ show(m, sep='-') }}{% endfor %}",
    "recursion": "{% for m in messages recursive %}{{ m.role or m }}{% if m.role %}{{ loop([1, 2]) }}{% endif %}"
    "{% endfor %}",
    "filters": "{% set users = messages | selectattr('role', 'equalto', 'user') | list %}{{ users | length }}"
    "{{ messages | map(attribute='role') | join(', ') }}{{ messages[0].content | replace('a', 'bb') | upper }}"
    "{{ [3, 1, 2] | sort | first }}{{ (messages | last).content | default('none') }}"
    "{% for key, value in {'b': 1, 'a': 2} | dictsort %}{{ key }}{{ value }}{% endfor %}"
    "{{ ('%s and %d' | format('x', 3)) }}{{ 'a\\nb' | indent(2) }}{{ [1, 2, 3] | sum }}{{ 2.567 | round(1) }}"
    "{{ messages | groupby('role') | map('first') | list }}{{ 'abc' | center(9) }}{{ [1, 2, 3] | batch(2) | list }}",
    "methods": "{% for m in messages %}{{ m.content.split(' ')[-1].strip() }}{{ m['content'].startswith('H') }}"
    "{{ m.get('name', 'nobody') }}{{ m.content[:3] }}{{ m.content[::-1] }}{{ '-'.join(m.keys()) }}"
    "{{ 'x{}y{:>4}'.format(1, 'b') }}{{ m.content.replace('i', 'o') }}{{ 'a'.center(5, '*') }}{% endfor %}",
    "operators": "{{ 2 ** 10 }}{{ 7 // 2 }}{{ 7 % 4 }}{{ 'ab' * 3 }}{{ [1] + [2] }}{{ [0] * 2 }}{{ '%s!' % 'x' }}"
    "{{ 1 in [1] }}{{ messages[0] == messages[-1] }}{{ messages[0] in messages }}{{ 'a' ~ 1 ~ none }}"
    "{{ {(1, 2): 3}[(1, 2)] }}",
    "sets and blocks": "{% set body %}{% for m in messages %}<{{ m.content }}>{% endfor %}{% endset %}"
    "{{ body | length }}{{ body }}"
    "{% filter upper %}{{ messages[0].role }}{% endfilter %}{% call(x) twice() %}{{ x }}{% endcall %}"
    "{% macro twice() %}{{ caller(1) }}{{ caller(2) }}{% endmacro %}",
    "undefined": "{{ nothing }}{{ nothing is defined }}{{ messages[0].nothing }}{% for x in nothing %}x{% endfor %}"
    "{{ documents is none }}"
    "{{ bos_token }}{{ enable_thinking | default('unset') }}",
    "date": "{{ strftime_now('%d %b %Y') }}",
    "refuses": "{% if messages[0].role != 'system' %}{{ raise_exception('system first') }}{% endif %}ok",
    "breaks": "{{ messages[0].content + 1 }}",
}


@pytest.mark.parametrize("name", OWN)
def test_own_templates_render_as_in_transformers(name):
    for label, messages in CONVERSATIONS.items():
        for how, options in OPTIONS.items():
            expected = rendered_by_transformers(OWN[name], messages, options)
            assert rendered_by_us(OWN[name], messages, options) == expected, (label, how)
