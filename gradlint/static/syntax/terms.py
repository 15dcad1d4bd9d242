"""Terms: of which results a loss is the sum, by how it is written.

It knows `ast` only; it must not know values.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from gradlint.static.syntax.nodes import own_of, walk


def terms_by_name(scope: ast.AST) -> dict[str, tuple[str, ...]]:
    """Return, for each name that a scope gives a sum, the terms that are results of calls on the same thing: of one prediction."""
    given: dict[str, list[ast.expr]] = defaultdict(list)
    for node in own_of(scope, ast.Assign):
        for target in node.targets:
            for name, value in _bound(target, node.value):
                given[name].append(value)
    sums = {name: values[0] for name, values in given.items() if len(values) == 1 and _is_sum(values[0])}
    return {name: tuple(_of_one(list(_addends(value)), given)) for name, value in sums.items()}


def _bound(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    """Yield the names that an assignment binds, and to what; of an unpacked result, to what nobody knows."""
    match target, value:
        case ast.Name(name), _:
            yield name, value
        case ast.Tuple(targets) | ast.List(targets), ast.Tuple(values) if len(targets) == len(values):
            for inner, each in zip(targets, values, strict=True):
                yield from _bound(inner, each)
        case ast.Tuple(targets) | ast.List(targets), _:
            for inner in targets:
                yield from _bound(inner, ast.Constant(...))


def _is_sum(value: ast.expr) -> bool:
    return isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add)


def _addends(value: ast.expr) -> Iterator[ast.expr]:
    match value:
        case ast.BinOp(left, ast.Add(), right):
            yield from _addends(left)
            yield from _addends(right)
        case _:
            yield value


def _of_one(addends: list[ast.expr], given: dict[str, list[ast.expr]]) -> Iterator[str]:
    """Yield the terms that are each the result of one call, of whose arguments another addend is computed, too."""
    uses = [set(_names(addend, given)) for addend in addends]
    for index, addend in enumerate(addends):
        others = set[str]().union(*uses[:index], *uses[index + 1 :])
        yield from (term for term in _factors(addend) if _arguments(given.get(term, [])) & others)


def _factors(addend: ast.expr) -> Iterator[str]:
    match addend:
        case ast.Name(name):
            yield name
        case ast.BinOp(left, ast.Mult(), right):
            yield from _factors(left)
            yield from _factors(right)


def _names(addend: ast.expr, given: dict[str, list[ast.expr]]) -> Iterator[str]:
    """Yield the names in an addend, and in what those are given, if that is one thing."""
    for name in (part.id for part in walk(addend) if isinstance(part, ast.Name)):
        yield name
        values = given.get(name, [])
        yield from (
            part.id for value in values[: len(values) == 1] for part in walk(value) if isinstance(part, ast.Name)
        )


def _arguments(values: list[ast.expr]) -> set[str]:
    match values:
        case [ast.Call(args=args)]:
            return {arg.id for arg in args if isinstance(arg, ast.Name)}
        case _:
            return set()
