"""How the layers of a module are written: under which conditions they are made, of which classes, with which rates.

It knows calls by their words; it must not know values.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Container, Iterator

from gradlint.static.lowering.instances import SAME
from gradlint.static.syntax.nodes import children, walk, walk_of

DROPS = re.compile(r"drop", re.IGNORECASE)
"""What a rate of dropout is called, and what takes one."""


def under_conditions(start: ast.AST, without: Container[ast.AST] = ()) -> Iterator[tuple[ast.AST, bool]]:
    """Yield every node below `start`, but for some and what is in them, and whether it stands under a condition."""
    todo = [(start, False)]
    while todo:
        node, perhaps = todo.pop()
        yield node, perhaps
        branches = isinstance(node, (ast.If, ast.IfExp))
        for child in children(node) if not _only_returns(node) else ():
            if child in without:
                continue
            under = branches and child is not node.test  # type: ignore[attr-defined]
            todo.append((child, perhaps or under or _is_in_a_table(node, child)))


def _is_in_a_table(node: ast.AST, child: ast.AST) -> bool:
    """Whether a key decides which one is made, or taken, of all that are written there."""
    makers = isinstance(node, ast.Dict) and isinstance(child, ast.Lambda)
    return makers or (isinstance(node, ast.Subscript) and isinstance(child, ast.Dict))


def _only_returns(node: ast.AST) -> bool:
    """Whether a condition decides only which of the names known by then are returned: who asks in the wrong mode sees it."""
    branches = [*node.body, *node.orelse] if isinstance(node, ast.If) else []
    computes = any(isinstance(each, (ast.Call, ast.BinOp)) for branch in branches for each in walk(branch))
    return bool(branches) and not computes and all(isinstance(branch, ast.Return) for branch in branches)


def choices(scope: ast.AST, callee: ast.expr) -> list[ast.expr]:
    """Return what a callee may be: of a name to which `scope` itself assigns one of two classes, these."""
    made = [
        node.value
        for node in (walk_of(scope, ast.Assign) if isinstance(callee, ast.Name) else ())
        if any(isinstance(target, ast.Name) and target.id == callee.id for target in node.targets)  # type: ignore[attr-defined]
    ]
    found = [each for value in made for each in _alternatives(value)]
    return found if found and all(isinstance(each, (ast.Name, ast.Attribute)) for each in found) else [callee]


def _alternatives(value: ast.expr) -> list[ast.expr]:
    return [*_alternatives(value.body), *_alternatives(value.orelse)] if isinstance(value, ast.IfExp) else [value]


def in_one_mode(node: ast.Call) -> bool:
    """Whether a function is told the mode as it is written: that of the module does not matter."""
    return any(each.arg == "training" and isinstance(each.value, ast.Constant) for each in node.keywords)


def drops(node: ast.Call) -> bool:
    """Whether a call is given a rate of dropout other than 0."""
    return any(bool(DROPS.search(each.arg or "")) and not is_off(each) for each in node.keywords)


def is_of_one_layer(node: ast.Call) -> bool:
    """Whether a recurrent module has one layer: it drops between its layers only."""
    given = [each.value for each in node.keywords if each.arg == "num_layers"] + node.args[2:3]
    spread = any(isinstance(each, ast.Starred) for each in node.args) or any(each.arg is None for each in node.keywords)
    return not spread and all(isinstance(each, ast.Constant) and each.value == 1 for each in given)


def is_off(keyword: ast.keyword) -> bool:
    """Whether an argument is a rate of dropout that drops nothing."""
    rate = keyword.value
    return bool(DROPS.search(keyword.arg or "")) and isinstance(rate, ast.Constant) and not rate.value


def bare(made: ast.expr | None) -> ast.expr | None:
    """Return an expression without the methods that return the module itself."""
    while isinstance(made, ast.Call) and isinstance(made.func, ast.Attribute) and made.func.attr in SAME:
        made = made.func.value
    return made
