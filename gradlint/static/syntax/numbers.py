"""Which parts of what a function returns are plain numbers, as far as it is written: no graph hangs on them.

It knows syntax; it must not know values, events or rules.
"""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from collections.abc import Iterator

from gradlint.static.syntax.nodes import own, own_of

_Bindings = dict[str, list[ast.expr | None]]
_NUMBER = ast.Constant(0)
_MEASURES = frozenset(["item", "numel", "nelement", "dim"])
_NUMBERS = frozenset(["len", "int", "float", "round"])


def plain_results(function: ast.AST) -> frozenset[int]:
    """Return which of the results of a function are numbers, wherever it returns several of them."""
    returned = [each.value for each in own_of(function, ast.Return)]
    rows = [each.elts for each in returned if isinstance(each, ast.Tuple)]
    if not rows or len(rows) < len(returned) or len({len(row) for row in rows}) > 1:
        return frozenset()
    given = _bindings(function)
    columns = enumerate(zip(*rows, strict=True))
    return frozenset(index for index, column in columns if all(_is_number(each, given) for each in column))


def _bindings(function: ast.AST) -> _Bindings:
    """Return what each name of a function is given (None: nobody knows)."""
    given: _Bindings = defaultdict(list)
    for node in own(function):
        for name, value in _bound(node):
            given[name].append(value)
    stores = (each.id for each in own_of(function, ast.Name) if isinstance(each.ctx, ast.Store))
    for name, times in Counter(stores).items():
        if times != len(given[name]):
            given[name].append(None)  # It is bound in some other way, too.
    return given


def _bound(node: ast.AST) -> Iterator[tuple[str, ast.expr | None]]:
    match node:
        case ast.Assign([ast.Name(name)], value) | ast.AugAssign(ast.Name(name), _, value):
            yield name, value
        case ast.Assign([ast.Tuple(targets)], ast.Tuple(values)) if len(targets) == len(values):
            pairs = zip(targets, values, strict=True)
            yield from ((target.id, value) for target, value in pairs if isinstance(target, ast.Name))
        case ast.Assign([ast.Tuple(targets)], ast.Attribute(attr="shape") | ast.Call(ast.Attribute(attr="size"), [])):
            yield from ((target.id, _NUMBER) for target in targets if isinstance(target, ast.Name))
        case ast.For(ast.Name(name), ast.Call(ast.Name("range"))):
            yield name, _NUMBER


def _is_number(node: ast.expr | None, given: _Bindings, seen: frozenset[str] = frozenset()) -> bool:
    match node:
        case ast.Constant(int() | float()):
            return True
        case ast.BinOp(left, _, right) | ast.IfExp(_, left, right):
            return _is_number(left, given, seen) and _is_number(right, given, seen)
        case ast.UnaryOp(_, operand):
            return _is_number(operand, given, seen)
        case ast.Call(ast.Attribute(attr="size"), [_]) | ast.Subscript(ast.Attribute(attr="shape"), ast.Constant()):
            return True
        case ast.Call(ast.Attribute(attr=name)) if name in _MEASURES:
            return True
        case ast.Call(ast.Name(name)) if name in _NUMBERS:
            return True
        case ast.Name(name) if name in seen:
            return True
        case ast.Name(name) if given.get(name):
            return all(_is_number(each, given, seen | {name}) for each in given[name])
        case _:
            return False
