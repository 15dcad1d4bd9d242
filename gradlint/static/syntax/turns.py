"""What happens in one turn of a loop at most: by how its counter is compared.

It knows syntax; it must not know values.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.data import NamedTuple
from gradlint.static.syntax.nodes import called, own_of, walk, walk_of

_RANGES = frozenset(["range", "trange"])


def once(loop: ast.AST, row: int, tree: ast.AST) -> bool:
    """Whether a row of a loop in a tree is reached in one of its turns only: a condition around it says in which."""
    return any(_picks(each) or _ends(each) for each in _conditions(loop, row, tree))


def at_last(loop: ast.AST, row: int, tree: ast.AST) -> bool:
    """Whether a row of a loop in a tree is reached in its last turn only."""
    return any(map(_ends, _conditions(loop, row, tree)))


class _Condition(NamedTuple):
    """A condition around a row of a loop whose turns are counted, with the tree around it; `given` is what the loop binds."""

    test: ast.expr
    counters: frozenset[str]
    given: dict[str, ast.expr]
    loop: ast.AST
    tree: ast.AST


def _conditions(loop: ast.AST, row: int, tree: ast.AST) -> Iterator[_Condition]:
    """Yield the conditions that have to hold where a row is reached, each by itself."""
    counters = _counters(loop)
    bound = [each for each in walk_of(loop, ast.Assign) if len(each.targets) == 1] if counters else []
    given = {each.targets[0].id: each.value for each in bound if isinstance(each.targets[0], ast.Name)}
    around = (each for each in walk_of(loop, ast.If) if each.body[0].lineno <= row <= (each.body[-1].end_lineno or 0))
    for each in around if counters else ():
        test = _spelled_out(each.test, given)
        both = test.values if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And) else [test]
        yield from (_Condition(part, counters, given, loop, tree) for part in both)


def _spelled_out(test: ast.expr, given: dict[str, ast.expr]) -> ast.expr:
    """Return a condition with what a name in its place was given."""
    match test:
        case ast.Name(name):
            return given.get(name, test)
        case ast.UnaryOp(ast.Not() as op, ast.Name(name)) if name in given:
            return ast.copy_location(ast.UnaryOp(op, given[name]), test)
        case _:
            return test


def _counters(loop: ast.AST) -> frozenset[str]:
    """Return the names that count the turns of a loop."""
    match loop:
        case ast.For(target=ast.Tuple([ast.Name(name), *_]), iter=ast.Call() as source) if (
            called(source) == "enumerate"
        ):
            return frozenset([name])
        case ast.For(target=ast.Name(name), iter=ast.Call() as source) if called(source) in _RANGES:
            return frozenset([name])
        case _:
            return frozenset()


def _picks(asked: _Condition) -> bool:
    """Whether a condition holds in one turn: the counter is what does not change."""
    match asked.test:
        case ast.Compare(left, [ast.Eq()], [right]):
            sides = ((left, right), (right, left))
            return any(_counts(one, asked.counters) and _is_fixed(other, asked) for one, other in sides)
        case _:
            return False


def _ends(asked: _Condition) -> bool:
    """Whether a condition holds in the last turn: the counter has come to a length."""
    match asked.test:
        case ast.Compare(ast.BinOp(left, ast.Mod(), right), [ast.Eq()], [ast.Constant(0)]):
            pass
        case ast.Compare(left, [ast.Eq() | ast.GtE()], [right]):
            pass
        case ast.UnaryOp(ast.Not(), ast.Compare(left, [ast.Lt()], [right])):
            pass
        case _:
            return False
    return _counts(left, asked.counters) and _is_fixed(right, asked) and _is_end(right, asked)


def _is_end(node: ast.expr, asked: _Condition) -> bool:
    """Whether a number is a length, or the bound of the loop, as written here or where the number got its name before the loop."""
    spelled = _before(node, asked)
    return _is_length(spelled) or any(_is_bound(each, asked.loop) for each in (node, spelled))


def _before(node: ast.expr, asked: _Condition) -> ast.expr:
    """Return what a name was given, once and in front of the loop, in the function around it; else the node itself."""
    if not isinstance(node, ast.Name):
        return node
    bound = [each for each in own_of(_scope(asked), ast.Name) if each.id == node.id and isinstance(each.ctx, ast.Store)]
    given = [each.value for each in own_of(_scope(asked), ast.Assign) if each.targets == bound]
    early = given and given[0].lineno < getattr(asked.loop, "lineno", 0)
    return given[0] if early and _is_fixed(given[0], asked) else node


def _scope(asked: _Condition) -> ast.AST:
    """Return the innermost function around a loop, or else the tree."""
    row = getattr(asked.loop, "lineno", 0)
    functions = [*walk_of(asked.tree, ast.FunctionDef), *walk_of(asked.tree, ast.AsyncFunctionDef)]
    around = (each for each in functions if each.lineno <= row <= (each.end_lineno or 0))
    return max(around, key=lambda each: each.lineno, default=asked.tree)


def _is_bound(node: ast.expr, loop: ast.AST) -> bool:
    """Whether a number is the end of the range that a loop goes through, or one less."""
    match loop, node:
        case ast.For(iter=ast.Call(args=[stop] | [_, stop, *_]) as source), ast.BinOp(left, ast.Sub(), ast.Constant(1)):
            pass
        case ast.For(iter=ast.Call(args=[stop] | [_, stop, *_]) as source), left:
            pass
        case _:
            return False
    return called(source) in _RANGES and ast.dump(left) == ast.dump(stop)


def _is_length(node: ast.expr) -> bool:
    return any(called(each) == "len" for each in walk_of(node, ast.Call))


def _counts(node: ast.expr, counters: frozenset[str]) -> bool:
    match node:
        case ast.Name(name):
            return name in counters
        case ast.BinOp(ast.Name(name), ast.Add() | ast.Sub(), ast.Constant()):
            return name in counters
        case _:
            return False


def _is_fixed(node: ast.expr, asked: _Condition) -> bool:
    names = {part.id for part in walk(node) if isinstance(part, ast.Name)}
    return not names & (asked.counters | asked.given.keys())
