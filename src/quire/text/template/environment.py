"""The sandbox chat templates run in: Hugging Face's dialect of Jinja, every operation asking a Budget first.

What grows by itself is intercepted: loops, calls, macros, operators, string methods, filters, captured output.
What Jinja has no hook for is rewritten to filters first, see rewrite.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, cast

from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from quire.text.template.budget import CALL_STEPS, Budget, BudgetExceeded
from quire.text.template.filters import FILTERS, TESTS

_STRING_METHODS = """
    capitalize casefold center count endswith find format format_map index isalnum isalpha isascii isdecimal isdigit
    isidentifier islower isnumeric isprintable isspace istitle isupper join ljust lower lstrip partition removeprefix
    removesuffix replace rfind rindex rjust rpartition rsplit rstrip split splitlines startswith strip swapcase title
    upper zfill
"""
_SAFE_STRING_METHODS = frozenset(_STRING_METHODS.split())


class TemplateRefusal(Exception):
    """`raise_exception` in a template: these messages are not what it takes."""


class GenerationTag(Extension):
    """`{% generation %}` marks the assistant's words for training; for serving it is only a scope."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


class TemplateNamespace(Namespace):
    """Jinja's `namespace`, without names that could pass for Python's own attributes."""

    def __setitem__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            raise SecurityError(f"a namespace cannot hold the name {name!r}")
        super().__setitem__(name, value)


class TemplateEnvironment(ImmutableSandboxedEnvironment):
    """One rendering's sandbox. Made anew for each, because its budget is used up by it."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, budget: Budget) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[GenerationTag, loopcontrols],
            finalize=self.shown,
        )
        self.budget = budget
        self.filters = dict(FILTERS)
        self.tests = dict(TESTS)
        del self.globals["lipsum"]
        self.globals |= {
            "dict": lambda *args, **kwargs: dict(*args, **kwargs),
            "namespace": _namespace,
            "raise_exception": _raise_exception,
            "strftime_now": _strftime_now,
        }

    def shown(self, value: Any) -> str:
        """The text of an output expression."""
        if not isinstance(value, str):
            self.budget.size_of(value)
            value = str(value)
        self.budget.reserve(len(value))
        return cast(str, value)

    def concat(self, chunks: Iterable[str]) -> str:
        """Joins output: the whole result, a macro's, or a captured block's."""
        pieces, num_chars = [], 0
        for chunk in chunks:
            num_chars += len(chunk)
            if num_chars > self.budget.max_chars:
                break
            pieces.append(chunk)
        self.budget.reserve(num_chars)
        return "".join(pieces)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if isinstance(obj, str) and attr not in _SAFE_STRING_METHODS:
            return False
        return not isinstance(obj, (bytes, int, float)) and super().is_safe_attribute(obj, attr, value)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(argument, tuple):
            self.budget.size_of(argument)  # a look-up hashes it to its leaves
        return super().getitem(obj, argument)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None

        def checked(*args: Any, **kwargs: Any) -> str:
            self.budget.check_format(value.__self__, [args, kwargs], "{")
            return wrapped(*args, **kwargs)

        return checked

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        budget = __self.budget
        budget.spend(CALL_STEPS)
        if isinstance(__obj, LoopContext):  # loop(…) of a recursive loop
            args = (budget.rounds(args[0]), *args[1:])
        elif not isinstance(__obj, Macro):
            args = __self._check_method(__obj, args)
            budget.size_of(args, kwargs)
        return budget.passed(super().call(__context, __obj, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        budget = self.budget
        if operator == "%" and isinstance(left, str):
            budget.check_format(left, right, "%")
        elif operator == "+" and hasattr(left, "__len__") and hasattr(right, "__len__"):
            budget.reserve(len(left) + len(right))
        elif operator == "*":
            _check_product(budget, left, right)
        elif operator == "**" and isinstance(left, int) and isinstance(right, int):
            budget.reserve_integer(left.bit_length() * max(right, 1))
        budget.spend(1)
        return super().call_binop(context, operator, left, right)

    def _check_method(self, method: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Ask for what a string's or list's method is about to make; may replace a generator by its items."""
        owner = getattr(method, "__self__", None)
        if isinstance(owner, (list, tuple)):
            self.budget.size_of(owner)
        if not isinstance(owner, str) or not args:
            return args
        name = method.__name__
        if name in ("center", "ljust", "rjust", "zfill"):
            self.budget.count(args[0])
        elif name == "replace" and len(args) > 1:
            self.budget.check_replace(owner, args[0], args[1])
        elif name == "join":
            args = (list(self.budget.rounds(args[0])),)
            self.budget.check_join(owner, args[0])
        return args


def _check_product(budget: Budget, left: Any, right: Any) -> None:
    for many, times in ((left, right), (right, left)):
        if hasattr(many, "__len__") and isinstance(times, int):
            budget.reserve(len(many) * max(times, 0))
    if isinstance(left, int) and isinstance(right, int):
        budget.reserve_integer(left.bit_length() + right.bit_length())


def _namespace(*args: Any, **kwargs: Any) -> TemplateNamespace:
    namespace = TemplateNamespace()
    for name, value in dict(*args, **kwargs).items():
        namespace[name] = value
    return namespace


def _raise_exception(message: Any) -> None:
    raise TemplateRefusal(str(message))


def _strftime_now(pattern: str) -> str:
    if len(pattern) > 256 or any(character.isdigit() for character in pattern):
        raise BudgetExceeded("its date format is too long or names a width")
    return datetime.now().strftime(pattern)
