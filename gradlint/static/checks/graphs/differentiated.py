"""Graphs that one `autograd.grad` frees and a later pass runs through: GL503 aside of all optimizers.

It knows passes of one function, one after the other, from values that come out of the same one, as its rows say.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import product

from gradlint.diagnostics import Diagnostic, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.regex import regex
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check, in_tests
from gradlint.static.flow.tree import GraphNode
from gradlint.static.lowering.notes import Descent
from gradlint.static.lowering.values import Tensor
from gradlint.static.syntax.nodes import blocks_in, names, own, walk
from gradlint.wordings.graphs import RETAIN

_CUTS = regex(r"detach|\.data\b|\.item\(|no_grad|numpy|stop_grad")
_APART = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.Lambda, ast.IfExp, ast.BoolOp)
_PLAIN = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Expr, ast.Return)


@check
@in_tests
def differentiated_twice(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL503: `torch.autograd.grad` without `retain_graph`, and another pass through the same graph after it."""
    descents = analysis.lowering.descents
    freeing = [descent for descent in descents if descent.event.kind is EventKind.RETAIN and _frees(descent)]
    told = set[ast.Call]()
    for first, second in product(freeing, descents):
        if second.node in told or not _follows(analysis, first, second):
            continue
        node = _shared(analysis, first, second)
        if node is not None:
            told.add(second.node)
            marks = (("made", node.place), ("freed", first.event.place))
            yield compose("GL503", Side.STATIC, second.event.place, marks, through="", remedy=RETAIN)


def _frees(descent: Descent) -> bool:
    keeps = [descent.flag(name) for name in ("create_graph", "retain_graph", "allow_unused")]
    return len(descent.node.args) <= 3 and keeps == [False, False, False]


def _follows(analysis: Analysis, first: Descent, second: Descent) -> bool:
    """Whether both passes are rows of one block, and the second comes after the first in the same call of a function."""
    if first.event.frame != second.event.frame or first.scope is not second.scope:
        return False
    if second.event.roles & {"partial", "engine", "hosted"}:
        return False
    for block in blocks_in(first.scope or analysis.tree):
        plain = [row for row in block if isinstance(row, _PLAIN)]
        at = [next((i for i, row in enumerate(plain) if _holds(row, each.node)), None) for each in (first, second)]
        if at[0] is not None and at[1] is not None:
            return at[0] < at[1]
    return False


def _holds(row: ast.stmt, call: ast.Call) -> bool:
    """Whether a row makes a call whenever it runs, and once."""
    found = walk(row)
    apart = [node for node in found if isinstance(node, _APART)]
    return call in found and not any(call in walk(node) for node in apart)


def _shared(analysis: Analysis, first: Descent, second: Descent) -> GraphNode | None:
    """Return what was built once, and both passes run through."""
    parts = {node for node in first.event.nodes & second.event.nodes if node.sure and not node.age}
    if not parts:
        return None
    rows = _Rows(first.scope or analysis.tree)
    roots = [_root(each.node) for each in (first, second)]
    if None in roots:
        return None
    sources = [rows.sources(root) for root in roots if root is not None]
    for name in sources[0].keys() & sources[1].keys():
        value = analysis.value(sources[0][name])
        known = parts & value.nodes if isinstance(value, Tensor) and value.sure else None
        if known and all(_runs_to_inputs(rows, name, each) for each in (first, second)):
            return min(known, key=lambda node: node.place)
    return None


def _root(call: ast.Call) -> ast.expr | None:
    """Return what a pass runs from."""
    if call.args:
        return call.args[0]
    named = next((each.value for each in call.keywords if each.arg in ("outputs", "tensors")), None)
    receiver = call.func.value if isinstance(call.func, ast.Attribute) and call.func.attr == "backward" else None
    return named or receiver


def _runs_to_inputs(rows: _Rows, name: str, descent: Descent) -> bool:
    """Whether a pass goes on from the value of a name to all that it was computed from."""
    if descent.event.kind is EventKind.BACKWARD:
        return True
    given = descent.node.args[1:2] or [each.value for each in descent.node.keywords if each.arg == "inputs"]
    calls = [node for node in rows.behind(name) if isinstance(node, ast.Call)]
    for inputs in given:
        if isinstance(inputs, ast.Call) and isinstance(inputs.func, ast.Attribute) and inputs.func.attr == "parameters":
            owner = ast.unparse(inputs.func.value)
            return any(ast.unparse(call.func) == owner for call in calls)
        wanted = inputs.elts if isinstance(inputs, (ast.List, ast.Tuple)) else [inputs]
        asked = {each.id for each in wanted if isinstance(each, ast.Name)}
        if any(rows.is_stored_after(each, name, descent.node.lineno) for each in asked):
            return False
        mentioned = {each.id for call in calls for given in (*call.args, *call.keywords) for each in names(given)}
        return bool(asked & mentioned)
    return False


class _Rows:
    """The assignments of a function, as far as a name is given one value in it."""

    def __init__(self, scope: ast.AST) -> None:
        self._stored: dict[str, list[int]] = {}
        self._made: dict[str, ast.expr] = {}
        for node in own(scope):
            if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                self._stored.setdefault(node.id, []).append(node.lineno)
            elif isinstance(node, ast.Assign):
                for target in node.targets:
                    self._assigned(target, node.value)
            elif isinstance(node, ast.AnnAssign) and node.value is not None:
                self._assigned(node.target, node.value)

    def _assigned(self, target: ast.expr, value: ast.expr) -> None:
        match target, value:
            case ast.Name(name), _:
                self._made[name] = value
            case ((ast.Tuple(targets) | ast.List(targets)), (ast.Tuple(values) | ast.List(values))):
                if len(targets) == len(values):
                    for each, given in zip(targets, values, strict=True):
                        self._assigned(each, given)

    def _value(self, name: str) -> ast.expr | None:
        made = self._made.get(name) if len(self._stored.get(name, ())) == 1 else None
        return None if made is None or _CUTS.search(ast.unparse(made)) else made

    def sources(self, root: ast.expr) -> dict[str, ast.Name]:
        """Return the names that a value comes out of, each as it is written."""
        found: dict[str, ast.Name] = {}
        todo = [root]
        while todo:
            for name in names(todo.pop()):
                made = self._value(name.id)
                if made is not None and name.id not in found:
                    found[name.id] = name
                    todo.append(made)
        return found

    def behind(self, name: str) -> Iterator[ast.AST]:
        """Yield the nodes of all that the value of a name is computed by."""
        made = self._value(name)
        for value in [made, *map(self._value, self.sources(made))] if made is not None else ():
            yield from walk(value) if value is not None else ()

    def is_stored_after(self, name: str, since: str, until: int) -> bool:
        """Whether a name is given a value after another one was."""
        return any(self._stored[since][0] < row <= until for row in self._stored.get(name, ()))
