"""The sandbox's filters and tests: Jinja's own and Hugging Face's `tojson`, asking the budget before they work."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Protocol, cast

from jinja2 import pass_context
from jinja2.filters import FILTERS as JINJA_FILTERS
from jinja2.runtime import Context
from jinja2.tests import TESTS as JINJA_TESTS

from quire.text.template.budget import FILTER_STEPS, Budget, BudgetExceeded

# Names of the filters that rewritten nodes call. A name with a space cannot be written in a template.
LOOP_FILTER, CONCAT_FILTER, MEASURE_FILTER = "quire loop", "quire concat", "quire measure"

# Slow, random or growing without need; no chat template in use has them.
_REFUSED_FILTERS = frozenset({"pprint", "urlize", "wordwrap", "random", "xmlattr"})
# These look at their value's top level only, or pass its items on.
_SHALLOW = """
    attr batch count d default first items last length list map reject rejectattr reverse select selectattr slice
"""
_SHALLOW_FILTERS = frozenset(_SHALLOW.split())
_COMPARING = "== eq equalto != ne > gt greaterthan >= ge < lt lessthan <= le in"
_COMPARING_TESTS = frozenset(_COMPARING.split())


class _Metered(Protocol):
    budget: Budget


def _budget_of(context: Context) -> Budget:
    return cast(_Metered, context.environment).budget


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Hugging Face's `tojson`: not for HTML, so nothing is escaped beyond JSON's own needs."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _indent_asks(budget: Budget, text: Any, width: Any = 4, *_: Any, **__: Any) -> None:
    budget.count(width)
    pad = len(width) if isinstance(width, str) else width
    budget.reserve(len(str(text)) + (str(text).count("\n") + 1) * pad)


def _join_asks(budget: Budget, items: Any, d: Any = "", *_: Any, **__: Any) -> None:
    budget.check_join(str(d), items)


def _replace_asks(budget: Budget, text: Any, old: Any, new: Any, *_: Any) -> None:
    budget.check_replace(str(text), str(old), str(new))


def _format_asks(budget: Budget, text: Any, *args: Any, **kwargs: Any) -> None:
    budget.check_format(str(text), [args, kwargs], "%")


def _sum_asks(_: Budget, items: Any, attribute: Any = None, start: Any = 0) -> None:
    if not isinstance(start, (int, float)):
        raise BudgetExceeded("it sums what are no numbers")  # lists would be copied once per item


def _counts_ask(budget: Budget, _: Any, *args: Any, **kwargs: Any) -> None:
    for wanted in (*args, *kwargs.values()):
        budget.count(wanted)


_ASKS: dict[str, Callable[..., None]] = {
    "batch": _counts_ask,
    "center": _counts_ask,
    "format": _format_asks,
    "indent": _indent_asks,
    "join": _join_asks,
    "replace": _replace_asks,
    "round": _counts_ask,
    "slice": _counts_ask,
    "sum": _sum_asks,
    "tojson": _counts_ask,
}


def _metered(name: str, function: Callable[..., Any], *, is_deep: bool) -> Callable[..., Any]:
    """A filter or test that asks the budget before it works, and pays for its result."""
    wants = getattr(getattr(function, "jinja_pass_arg", None), "name", "")
    asks = _ASKS.get(name)

    def run(context: Context, value: Any, *args: Any, **kwargs: Any) -> Any:
        budget = _budget_of(context)
        budget.spend(FILTER_STEPS)
        is_generator = hasattr(value, "__iter__") and not hasattr(value, "__len__")
        if is_generator and (is_deep or asks is not None):
            value = list(budget.rounds(value))
        if is_deep and (args or kwargs or not isinstance(value, (str, int))):
            budget.size_of(value, args, kwargs)
        if asks is not None:
            asks(budget, value, *args, **kwargs)
        leads = {"context": context, "eval_context": context.eval_ctx, "environment": context.environment}
        first = leads.get(wants)
        lead = () if first is None else (first,)
        return budget.passed(function(*lead, value, *args, **kwargs))

    return pass_context(run)


def _for_nodes(work: Callable[[Budget, Any], Any]) -> Callable[..., Any]:
    """A filter for rewritten nodes. Taking the context keeps Jinja from running it once, when compiling."""

    def run(context: Context, value: Any) -> Any:
        return work(_budget_of(context), value)

    return pass_context(run)


def _concatenated(budget: Budget, operands: list[Any]) -> str:
    budget.size_of(*operands)
    return str(budget.passed("".join(map(str, operands))))


def _measured(budget: Budget, value: Any) -> Any:
    if not isinstance(value, (str, int)):
        budget.size_of(value)
    return value


_PLAIN_FILTERS = cast(dict[str, Callable[..., Any]], JINJA_FILTERS) | {"tojson": _to_json}
FILTERS: dict[str, Callable[..., Any]] = {
    name: _metered(name, function, is_deep=name not in _SHALLOW_FILTERS)
    for name, function in _PLAIN_FILTERS.items()
    if name not in _REFUSED_FILTERS
} | {
    LOOP_FILTER: _for_nodes(Budget.rounds),
    CONCAT_FILTER: _for_nodes(_concatenated),
    MEASURE_FILTER: _for_nodes(_measured),
}
TESTS: dict[str, Callable[..., Any]] = {
    name: _metered(name, function, is_deep=True) if name in _COMPARING_TESTS else function
    for name, function in cast(dict[str, Callable[..., Any]], JINJA_TESTS).items()
}
