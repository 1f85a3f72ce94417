"""A template's syntax tree: what it does with message contents, and the places where a budget must be asked."""

from __future__ import annotations

from jinja2 import nodes
from jinja2.visitor import NodeTransformer

from quire.text.template.filters import CONCAT_FILTER, LOOP_FILTER, MEASURE_FILTER


class Metering(NodeTransformer):
    """Routes loops, `~` and comparisons, which the sandbox has no hook for, through filters that ask the budget."""

    def visit_For(self, node: nodes.For) -> nodes.For:
        self.generic_visit(node)
        node.iter = _through(LOOP_FILTER, node.iter)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Expr:
        self.generic_visit(node)
        return _through(CONCAT_FILTER, nodes.List(node.nodes, lineno=node.lineno))

    def visit_Compare(self, node: nodes.Compare) -> nodes.Compare:
        """Against a constant a comparison is cheap; two values of the template's making may be huge."""
        self.generic_visit(node)
        operands = [node.expr, *(operand.expr for operand in node.ops)]
        if not any(isinstance(operand, nodes.Const) for operand in operands):
            node.expr = _through(MEASURE_FILTER, node.expr)
            for operand in node.ops:
                operand.expr = _through(MEASURE_FILTER, operand.expr)
        return node

    def visit_Pair(self, node: nodes.Pair) -> nodes.Pair:
        """A dictionary's keys are hashed to their leaves."""
        self.generic_visit(node)
        if not isinstance(node.key, nodes.Const):
            node.key = _through(MEASURE_FILTER, node.key)
        return node


def _through(filter_name: str, value: nodes.Node) -> nodes.Filter:
    return nodes.Filter(value, filter_name, [], [], None, None, lineno=value.lineno)


def iterates_content(tree: nodes.Template) -> bool:
    """Whether the template loops over a message's `content`, so that it wants a list of parts and not one text.

    Looked for by name, also through variables assigned from it: `for part in message.content`,
    `for part in content`, `{% set parts = message['content'] %} … for part in parts`.
    """
    names = {"content"}
    for assignment in tree.find_all(nodes.Assign):
        if isinstance(assignment.target, nodes.Name) and _is_content(assignment.node, names):
            names.add(assignment.target.name)
    return any(_is_content(loop.iter, names) for loop in tree.find_all(nodes.For))


def tests_for_text(tree: nodes.Template) -> bool:
    """Whether the template asks somewhere if a value `is string`, so that it takes both texts and lists of parts."""
    return any(test.name == "string" for test in tree.find_all(nodes.Test))


def _is_content(node: nodes.Node | None, names: set[str]) -> bool:
    while isinstance(node, nodes.Filter):
        node = node.node
    if isinstance(node, nodes.Name):
        return node.name in names
    if isinstance(node, nodes.Getattr):
        return node.attr == "content"
    return (
        isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const) and node.arg.value == "content"
    )
