"""Templates that loop, recurse or grow without end are stopped, whatever they use for it."""

from __future__ import annotations

import pytest

from quire.base.errors import InvalidValue
from quire.text.template import ChatTemplate
from quire.text.template.budget import Budget, BudgetExceeded

MESSAGES = [{"role": "user", "content": "a" * 100}]
TWICE = "{% set ns = namespace(x='ab', l=[1], t=(1,)) %}{% for i in range(60) %}"
RUNAWAYS = {
    "range": "{% for i in range(10**9) %}{% endfor %}",
    "nested ranges": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "nested literals": "{% for a in L %}{% for b in L %}{% for c in L %}{% for d in L %}{% for e in L %}"
    "{% for f in L %}{% endfor %}{% endfor %}{% endfor %}{% endfor %}{% endfor %}{% endfor %}".replace(
        "L", str([0] * 30)
    ),
    "filtered loop": "{% for a in range(99999) %}{% for b in range(99999) if false %}{% endfor %}{% endfor %}",
    "recursive loop": "{% for a in range(9999) recursive %}{{ loop(range(9999)) }}{% endfor %}",
    "loop over generator": "{% for a in range(99999) %}{% for b in range(99999) | map('string') %}{% endfor %}"
    "{% endfor %}",
    "macro recursion": "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
    "macro tree": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "constant output": "{% for i in range(99999) %}" + "x" * 10_000 + "{% endfor %}",
    "captured output": "{% set x %}{% for i in range(99999) %}"
    + "x" * 10_000
    + "{% endfor %}{% endset %}{{ x | length }}",
    "macro output": "{% macro f() %}"
    + "x" * 10_000
    + "{% endmacro %}{% for i in range(99999) %}{{ f() }}{% endfor %}",
    "doubling +": TWICE + "{% set ns.x = ns.x + ns.x %}{% endfor %}",
    "doubling ~": TWICE + "{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
    "doubling %": TWICE + "{% set ns.x = '%s%s' % (ns.x, ns.x) %}{% endfor %}",
    "doubling format": TWICE + "{% set ns.x = '{0}{0}'.format(ns.x) %}{% endfor %}",
    "doubling format filter": TWICE + "{% set ns.x = '%s%s' | format(ns.x, ns.x) %}{% endfor %}",
    "doubling join": TWICE + "{% set ns.x = [ns.x, ns.x] | join %}{% endfor %}",
    "doubling join method": TWICE + "{% set ns.x = ns.x.join(['', '', '']) %}{% endfor %}",
    "doubling replace": TWICE + "{% set ns.x = ns.x.replace('a', 'aa') %}{% endfor %}",
    "doubling replace filter": TWICE + "{% set ns.x = ns.x | replace('a', 'aa') %}{% endfor %}",
    "doubling list": TWICE + "{% set ns.l = ns.l + ns.l %}{% endfor %}",
    "doubling set": TWICE + "{% set ns.x %}{{ ns.x }}{{ ns.x }}{% endset %}{% endfor %}",
    "wide print": TWICE + "{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}",
    "wide string": TWICE + "{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l | string | length }}",
    "wide json": TWICE + "{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l | tojson }}",
    "wide concat": TWICE + "{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ (ns.l ~ '') | length }}",
    "wide format": TWICE + "{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ '%s' % ns.l }}",
    "wide dict": TWICE + "{% set ns.l = {'a': ns.l, 'b': ns.l} %}{% endfor %}{{ ns.l }}",
    "wide compare": "{% set a = namespace(x=[1], y=[1]) %}{% for i in range(60) %}{% set a.x = [a.x, a.x] %}"
    "{% set a.y = [a.y, a.y] %}{% endfor %}{{ a.x == a.y }}",
    "wide test": "{% set a = namespace(x=[1], y=[1]) %}{% for i in range(60) %}{% set a.x = [a.x, a.x] %}"
    "{% set a.y = [a.y, a.y] %}{% endfor %}{{ a.x is eq a.y }}{{ [a.x].index(a.y) }}",
    "wide key": TWICE + "{% set ns.t = (ns.t, ns.t) %}{% endfor %}{{ {ns.t: 1} }}",
    "wide look-up": TWICE + "{% set ns.t = (ns.t, ns.t) %}{% endfor %}{{ {}[ns.t] }}",
    "wide get": TWICE + "{% set ns.t = (ns.t, ns.t) %}{% endfor %}{{ {}.get(ns.t) }}",
    "string times": "{{ 'a' * 10**9 }}",
    "times string": "{{ 10**9 * 'a' }}",
    "list times": "{{ ([0] * 10**9) | length }}",
    "power": "{{ 10 ** (10 ** 9) }}",
    "power tower": "{{ 9 ** (9 ** (9 ** 9)) }}",
    "repeated square": TWICE + "{% set ns.n = (ns.n or 3) * (ns.n or 3) %}{% endfor %}",
    "center": "{{ 'a'.center(10**9) }}",
    "center filter": "{{ 'a' | center(10**9) }}",
    "ljust": "{{ 'a'.ljust(10**9) }}",
    "zfill": "{{ 'a'.zfill(10**9) }}",
    "indent": "{{ ('\\n' * 100000) | indent(10**9) }}",
    "indent text": "{{ ('\\n' * 100000) | indent('x' * 100000) }}",
    "json indent": "{{ messages | tojson(indent=10**9) }}",
    "percent width": "{{ '%999999999d' % 1 }}",
    "percent star": "{{ '%*d' % (10**9, 1) }}",
    "percent precision": "{{ '%.999999999f' % 1.5 }}",
    "format width": "{{ '{:>999999999}'.format(1) }}",
    "format nested width": "{{ '{:{}}'.format(1, 10**9) }}",
    "format map": "{{ '{a:>999999999}'.format_map({'a': 1}) }}",
    "replace by much": "{{ ('a' * 99999).replace('a', 'b' * 99999) }}",
    "replace nothing": "{{ ('a' * 99999).replace('', 'b' * 99999) }}",
    "join by much": "{{ ('b' * 99999).join('a' * 99999) }}",
    "join filter by much": "{{ ('a' * 99999) | join('b' * 99999) }}",
    "batch": "{{ [1] | batch(10**9, 'x') | list | length }}",
    "slice": "{{ [1] | slice(10**9) | list | length }}",
    "round": "{{ 1.5 | round(10**9, 'ceil') }}",
    "sum of lists": "{{ [[1], [2]] | sum(start=[]) }}",
    "expandtabs": "{{ '\\t'.expandtabs(10**9) }}",
    "translate": "{{ 'a'.translate({97: 'b' * 10}) }}",
    "to_bytes": "{{ (1).to_bytes(10**9, 'big') }}",
    "date width": "{{ strftime_now('%999999999Y') }}",
    "lipsum": "{{ lipsum(n=10**6) }}",
    "pprint": "{{ messages | pprint }}",
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", RUNAWAYS)
def test_runaway_is_refused(name):
    with pytest.raises(InvalidValue) as caught:
        ChatTemplate({"default": RUNAWAYS[name]}).render(MESSAGES)
    assert caught.value.field in ("chat_template", "messages")
    assert " at 0x" not in caught.value.message
    assert len(caught.value.message) < 500


ESCAPES = [
    "{{ ''.__class__.__mro__ }}",
    "{{ messages.__class__ }}",
    "{{ messages.append(1) }}",
    "{{ messages[0].update({'role': 'x'}) }}",
    "{{ ''['__class__']['__base__'] }}",
    "{{ raise_exception.__globals__ }}",
    "{{ cycler.__init__.__globals__ }}",
    "{{ self.__init__.__globals__ }}",
    "{{ '{0.__class__}'.format(1) }}",
    "{{ '{a.__class__}'.format_map({'a': 1}) }}",
    "{% set ns = namespace() %}{% set ns.__class__ = 'x' %}{{ ns.__class__ }}",
    "{{ namespace(__class__='x') }}",
    "{{ messages | map(attribute='__class__') | list }}",
    "{{ messages | attr('__class__') }}",
    "{% include 'x' %}",
    "{% import 'x' as y %}",
    "{% extends 'x' %}",
]


@pytest.mark.parametrize("source", ESCAPES)
def test_the_sandbox_shows_nothing_of_python(source):
    try:
        text = ChatTemplate({"default": source}).render(MESSAGES)
    except InvalidValue:
        return
    assert "<class" not in text
    assert "object" not in text


BROKEN = {
    "syntax": "{% for %}",
    "unclosed": "{% if true %}",
    "unknown filter": "{{ 'a' | nofilter }}",
    "unknown test": "{{ 'a' is notest }}",
    "deep brackets": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "deep blocks": "{% if true %}" * 3000 + "{% endif %}" * 3000,
    "deep loops": "{% for a in [1] %}" * 200 + "{% endfor %}" * 200,
    "too long": "x" * 300_000,
    "hidden filter": "{{ messages | quire loop }}",
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_template_is_refused_when_compiled(name):
    with pytest.raises(InvalidValue) as caught:
        ChatTemplate({"default": BROKEN[name]})
    assert caught.value.field == "chat_template"


def test_long_honest_conversations_fit_the_budget():
    """A loop inside a loop over 1000 messages, as templates that look back at earlier turns have it."""
    source = (
        "{% for m in messages %}{% for other in messages[:loop.index] %}{% if other.role == 'none' %}x{% endif %}"
        "{% endfor %}{{ m.role }}: {{ m.content | trim }}\n{% endfor %}"
    )
    messages = [{"role": "user", "content": "word " * 50} for _ in range(1000)]
    text = ChatTemplate({"default": source}).render(messages)
    assert text == ("user: " + ("word " * 50).strip() + "\n") * 1000


def test_output_may_grow_with_the_input():
    content = "x" * 3_000_000
    text = ChatTemplate({"default": "{{ messages[0].content ~ messages[0].content }}"}).render(
        [{"role": "user", "content": content}]
    )
    assert text == content * 2


def test_time_is_a_last_resort():
    budget = Budget(max_chars=100, max_steps=10**9, max_seconds=-1.0)
    with pytest.raises(BudgetExceeded, match="too long"):
        for _ in range(100_000):
            budget.spend(1)


def test_steps_run_out_exactly():
    budget = Budget(max_chars=100, max_steps=10)
    budget.spend(10)
    with pytest.raises(BudgetExceeded, match="too many steps"):
        budget.spend(1)
