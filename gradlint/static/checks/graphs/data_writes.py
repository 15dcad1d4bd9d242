"""Values that are changed behind autograd's back: GL512."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.regex import regex
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.checks.graphs.graphs import is_trained
from gradlint.static.flow.tree import Event, GraphNode
from gradlint.static.lowering.notes import Written
from gradlint.static.lowering.values import Instance
from gradlint.static.syntax.nodes import own, walk
from gradlint.static.syntax.questions import FunctionNode

_ADDED = frozenset(["add_", "sub_", "requires_grad_", "detach_", "resize_", "set_"])
"""Methods after which the gradient is right still: that of a sum does not ask for its terms."""
_STRAIGHT_THROUGH = regex(r"sign|round|floor|ceil|quant|binar|heaviside|bernoulli|argmax|one_?hot", re.IGNORECASE)
"""Functions without a useful gradient: to go past them is what is wanted."""


@check
def written_data(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL512: the data of a tensor that is a result are changed before a backward pass runs through it."""
    for write in analysis.lowering.written:
        trained = {node for node in write.nodes if node.sure and not node.age and is_trained(analysis, node)}
        backward = _backward_after(analysis, write, trained) if trained and _matters(write.node) else None
        if backward is not None:
            made = min(node.place for node in trained)
            marks = (("made", made), ("backward", backward.place))
            place = analysis.source.place(write.node)
            yield compose("GL512", Side.STATIC, place, marks, subject=ast.unparse(write.owner))


def _matters(node: ast.AST) -> bool:
    """Whether a change makes the gradient another one, and nobody wants just that."""
    match node:
        case ast.Call(ast.Attribute(attr=name)):
            return name not in _ADDED and not _STRAIGHT_THROUGH.search(ast.unparse(node))
        case ast.AugAssign(op=op):
            return not isinstance(op, (ast.Add, ast.Sub)) and not _STRAIGHT_THROUGH.search(ast.unparse(node))
        case ast.Assign(value=value):
            return not _STRAIGHT_THROUGH.search(ast.unparse(value))
        case _:
            return False


def _backward_after(analysis: Analysis, write: Written, nodes: set[GraphNode]) -> Event | None:
    """Return a backward pass that runs, after the write, through what was written to."""
    places = {node.place for node in nodes}
    for descent in analysis.lowering.descents:
        through = any(node.place in places and not node.age for node in descent.event.nodes)
        later = descent.scope is write.scope and _after(descent.node, write)
        if descent.event.kind is EventKind.BACKWARD and through and later:
            return descent.event
    scope = write.scope
    if isinstance(scope, FunctionNode) and any(_is_read(node, write) for node in own(scope)):
        return _backward_of_caller(analysis, scope, nodes)
    return None


def _after(node: ast.expr | ast.stmt, write: Written) -> bool:
    return (node.lineno, node.col_offset) > (write.node.lineno, write.node.col_offset)


def _is_read(node: ast.AST, write: Written) -> bool:
    wanted = ast.unparse(write.owner)
    own = {id(part) for part in walk(write.node)}
    return (
        isinstance(node, (ast.Name, ast.Attribute))
        and isinstance(node.ctx, ast.Load)
        and id(node) not in own
        and _after(node, write)
        and ast.unparse(node) == wanted
    )


def _backward_of_caller(analysis: Analysis, scope: FunctionNode, nodes: set[GraphNode]) -> Event | None:
    """Return a backward pass through a module in whose `forward` the parts `nodes` are built."""
    if scope.name != "forward":
        return None
    lowering = analysis.lowering
    for descent in lowering.descents:
        for outer in descent.event.nodes if descent.event.kind is EventKind.BACKWARD else ():
            cls = lowering.instances.get(outer.module)
            if cls is not None and scope in cls.node.body:
                parts = lowering.reach((Instance(cls, outer.module),))
                if any(node.module in parts for node in nodes):
                    return descent.event
    return None
