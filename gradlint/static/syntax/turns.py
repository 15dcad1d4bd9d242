"""What happens in one turn of a loop at most: by how its counter is compared.

It knows syntax; it must not know values.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from gradlint.static.syntax.nodes import called, walk, walk_of


def once(loop: ast.AST, row: int) -> bool:
    """Whether a row of a loop is reached in one of its turns only: a condition around it says in which."""
    return any(_picks(each) or _ends(each) for each in _conditions(loop, row))


def at_last(loop: ast.AST, row: int) -> bool:
    """Whether a row of a loop is reached in its last turn only."""
    return any(map(_ends, _conditions(loop, row)))


class _Condition(NamedTuple):
    """A condition around a row of a loop whose turns are counted; `given` are the values of names that the loop binds."""

    test: ast.expr
    counters: frozenset[str]
    given: dict[str, ast.expr]


def _conditions(loop: ast.AST, row: int) -> Iterator[_Condition]:
    """Yield the conditions that have to hold where a row is reached, each by itself."""
    counters = _counters(loop)
    bound = [each for each in walk_of(loop, ast.Assign) if len(each.targets) == 1] if counters else []
    given = {each.targets[0].id: each.value for each in bound if isinstance(each.targets[0], ast.Name)}
    around = (each for each in walk_of(loop, ast.If) if each.body[0].lineno <= row <= (each.body[-1].end_lineno or 0))
    for each in around if counters else ():
        test = _spelled_out(each.test, given)
        both = test.values if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And) else [test]
        yield from (_Condition(part, counters, given) for part in both)


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
        case ast.For(target=ast.Name(name), iter=ast.Call() as source) if called(source) in ("range", "trange"):
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
    return _counts(left, asked.counters) and _is_length(right) and _is_fixed(right, asked)


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
