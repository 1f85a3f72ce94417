"""T-10, T-22: templates are sandboxed and bounded wherever they come from, and requests may not bring any. (What a
budget must stop: tests/text/template/test_runaway.py; that others go on meanwhile:
tests/api/server/dialogue/test_rendering.py.)"""

from __future__ import annotations

from pathlib import Path

import pytest

from quire.base.errors import InvalidValue
from quire.text.template import ChatTemplate
from tests.security.conftest import Guarded, writes_canary

MESSAGES = [{"role": "user", "content": "x"}]
ESCAPES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ messages.__class__.__base__ }}",
    "{{ cycler.__init__.__globals__.os.system('CODE') }}",
    "{{ joiner.__init__.__globals__['__builtins__']['exec']('CODE') }}",
    "{{ lipsum.__globals__['os'].popen('CODE') }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ self._TemplateReference__context.environment }}",
    "{{ ''|attr('__class__') }}",
    "{{ ''|attr('__cl' ~ 'ass__') }}",
    "{{ 'x'['__class__'] }}",
    "{{ '{0.__class__}'.format(messages) }}",
    "{{ '%(x)s'.__mod__ }}{{ ''.format.__globals__ }}",
    "{{ raise_exception.__globals__ }}",
    "{{ raise_exception.__init__.__globals__ }}",
    "{{ strftime_now.__globals__ }}",
    "{% set x = messages.append(1) %}{{ messages|length }}",
    "{% set x = messages[0].update({'role': 'system'}) %}{{ messages[0].role }}",
    "{% include '/etc/passwd' %}",
    "{% import '/etc/passwd' as x %}",
    "{% extends '/etc/passwd' %}",
]


@pytest.mark.parametrize("template", ESCAPES)
def test_a_template_stays_in_its_sandbox(template: str, canary: Path) -> None:
    """T-10: CVE-2026-5760. An escape is an error or comes out as nothing; it shows no object and runs no code."""
    try:
        source = template.replace("CODE", writes_canary(canary))
        out = ChatTemplate({"default": source}, {}).render(MESSAGES)
    except InvalidValue:
        out = ""
    assert not canary.exists()
    for word in ("<class", "<function", "0x", "root:", "built-in", "Environment object"):
        assert word not in out
    assert out in ("", "1", "user", "None") or len(out) < 40, out


def test_requests_may_not_bring_a_template(guarded: Guarded) -> None:
    """T-22: CVE-2025-61620: off unless the operator trusts requests with it."""
    body = {"messages": MESSAGES, "chat_template": "{% for i in range(10**9) %}{% endfor %}"}
    guarded.refused("/v1/chat/completions", body, "chat_template")


@pytest.mark.parametrize(
    "name", ["tokenize", "messages", "tools", "chat_template", "add_generation_prompt", "raise_exception"]
)
def test_keyword_arguments_may_not_take_the_place_of_ours(name: str, guarded: Guarded) -> None:
    """T-22: CVE-2025-62426."""
    body = {"messages": MESSAGES, "max_tokens": 1, "chat_template_kwargs": {name: True}}
    status, text, _ = guarded.post("/v1/chat/completions", body)
    assert status == 400, text
    assert "chat_template_kwargs" in text
