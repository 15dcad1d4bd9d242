"""Whether the graph of a name, or of one assignment, goes into a backward pass elsewhere in its scope, by what reaches it.

For what the values do not tell: where paths meet on which a loss is made of different things, only what all of them have is
known. It knows syntax; it must not know events or rules.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.static.syntax.dataflow import is_cut
from gradlint.static.syntax.nodes import called, children, own_of
from gradlint.static.syntax.reaching import Assigned, reaching


def runs_backward(scope: ast.AST, source: str | ast.stmt, loop: ast.AST) -> bool:
    """Whether a backward pass of a scope, outside of a loop, runs from what is computed of a name or in a statement."""
    assigned = Assigned()
    rows = range(getattr(loop, "lineno", 0), (getattr(loop, "end_lineno", 0) or 0) + 1)
    calls = [call for call in own_of(scope, ast.Call) if called(call) == "backward" and call.lineno not in rows]
    roots = (root for call in calls for root in (call.func, *call.args))
    return any(_descends(scope, root, source, assigned, set()) for root in roots)


def _descends(scope: ast.AST, node: ast.expr, source: str | ast.stmt, assigned: Assigned, seen: set[ast.AST]) -> bool:
    """Whether an expression is computed of a name, or of what a statement assigns, on whichever path."""
    for part in _graphs(node):
        if part.id == source:
            return True
        for given in reaching(scope, part, part, assigned)[0]:
            if given.statement is source:
                return True
            if given.value is not None and given.statement not in seen:
                seen.add(given.statement)
                if _descends(scope, given.value, source, assigned, seen):
                    return True
    return False


def _graphs(node: ast.AST) -> Iterator[ast.Name]:
    """Yield the names in an expression of which something with a graph may be computed."""
    if isinstance(node, ast.Name):
        yield node
    elif not (isinstance(node, ast.expr) and is_cut(node)) and not isinstance(node, ast.Compare):
        for child in children(node):
            yield from _graphs(child)
