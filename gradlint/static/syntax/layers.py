"""How the layers of a module are written: under which conditions they are made, of which classes, with which rates.

It knows calls by their words; it must not know values.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Container, Iterator, Sequence

from gradlint.regex import regex
from gradlint.static.lowering.instances import SAME
from gradlint.static.syntax.nodes import children, defaults, walk, walk_of, words

DROPS = regex(r"drop", re.IGNORECASE)
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


def of_own_parts(lineage: Sequence[ast.ClassDef]) -> frozenset[ast.AST]:
    """Return the calls of what a loop takes out of layers that a class makes: `for layer in self.layers: x = layer(x)`."""
    loops: list[tuple[ast.expr, ast.expr, ast.AST]] = []
    for cls in lineage:
        loops += [(each.target, each.iter, each) for each in walk_of(cls, ast.For)]
        loops += [(turn.target, turn.iter, each) for each in walk_of(cls, ast.ListComp) for turn in each.generators[:1]]
    made = frozenset(name for cls in lineage for name in _made(cls)) if loops else frozenset()
    found: set[ast.AST] = set()
    for target, source, loop in loops:
        if any(part.attr in made and ast.unparse(part.value) == "self" for part in walk_of(source, ast.Attribute)):
            taken, calls = words(target), walk_of(loop, ast.Call)
            found |= {call for call in calls if isinstance(call.func, ast.Name) and call.func.id in taken}
    return frozenset(found)


def _made(cls: ast.ClassDef) -> set[str]:
    """Return the attributes of `self` that a class gives what it makes itself, not what it was given."""
    made, given = set[str](), set[str]()
    for method in (each for each in cls.body if isinstance(each, ast.FunctionDef)):
        arguments = {each.arg for each in method.args.args}
        for node in walk(method):
            match node:
                case ast.Assign([ast.Attribute(ast.Name("self"), name)], ast.Call(args=args)):
                    (given if any(is_named(each, arguments) for each in args) else made).add(name)
                case ast.Call(ast.Attribute(ast.Attribute(ast.Name("self"), name)), [*_, ast.Name()]):
                    given.add(name)  # Whatever it is, it has a name of its own: it is put in here.
    return made - given


def in_one_mode(node: ast.Call) -> bool:
    """Whether a function is told the mode as it is written: that of the module does not matter."""
    return any(each.arg == "training" and isinstance(each.value, ast.Constant) for each in node.keywords)


def is_given(node: ast.Call, name: str, value: object) -> bool:
    """Whether an argument is a literal with some value."""
    return any(
        each.arg == name and isinstance(each.value, ast.Constant) and each.value.value == value
        for each in node.keywords
    )


def drops(node: ast.Call, left_out: Container[str] = ()) -> bool:
    """Whether a call is given a rate of dropout other than 0; that of a parameter that was `left_out` is."""
    given = (each for each in node.keywords if DROPS.search(each.arg or "") and not is_off(each))
    return any(not is_named(each.value, left_out) for each in given)


def is_named(node: ast.expr, names: Container[str]) -> bool:
    """Whether an expression is one of some names."""
    return isinstance(node, ast.Name) and node.id in names


def left_out(made: ast.FunctionDef | ast.AsyncFunctionDef, call: ast.Call, before: Container[str]) -> frozenset[str]:
    """Return the arguments of a function that a call leaves at nothing, as they are by default; `before` are those of its caller."""
    if any(isinstance(each, ast.Starred) for each in call.args) or any(each.arg is None for each in call.keywords):
        return frozenset()
    names = [each.arg for each in (*made.args.posonlyargs, *made.args.args)]
    given = {*names[: len(call.args) + (made.name == "__init__")]}
    given |= {each.arg or "" for each in call.keywords if not _is_none(each.value) and not is_named(each.value, before)}
    return frozenset(name for name, default in defaults(made.args) if _is_none(default) and name not in given)


def _is_none(value: ast.expr) -> bool:
    """Whether an argument is a literal that is false: no rate, no flag."""
    return isinstance(value, ast.Constant) and not value.value


def is_of_one_layer(node: ast.Call) -> bool:
    """Whether a recurrent module has one layer: it drops between its layers only."""
    given = [each.value for each in node.keywords if each.arg == "num_layers"] + node.args[2:3]
    spread = any(isinstance(each, ast.Starred) for each in node.args) or any(each.arg is None for each in node.keywords)
    return not spread and all(isinstance(each, ast.Constant) and each.value == 1 for each in given)


def is_off(keyword: ast.keyword) -> bool:
    """Whether an argument is a rate of dropout that drops nothing."""
    return bool(DROPS.search(keyword.arg or "")) and _is_none(keyword.value)


def bare(made: ast.expr | None) -> ast.expr | None:
    """Return an expression without the methods that return the module itself."""
    while isinstance(made, ast.Call) and isinstance(made.func, ast.Attribute) and made.func.attr in SAME:
        made = made.func.value
    return made
