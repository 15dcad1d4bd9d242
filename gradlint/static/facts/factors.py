"""What a function of a count returns, as far as it is written: the factor of a schedule at one of its steps.

A number that is not known is None. A length that is not known is taken for a positive one: where it is 0 there is nothing to warm up.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence

from gradlint.static.lowering.values import Function, Value

_Bindings = Mapping[str, float]
_COMPARES: Mapping[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
}


def factor_at(function: Value | None, count: int) -> float | None:
    """Return what a function of one argument returns for a count, if that is certain."""
    match function:
        case Function(ast.Lambda(ast.arguments(args=[arg]), body), receiver=None, args=()):
            return _folded(body, {arg.arg: count})
        case Function(ast.FunctionDef(args=ast.arguments(args=[arg]), body=body), receiver=None, args=()):
            return _returned(body, {arg.arg: count})
        case _:
            return None


def _returned(body: Sequence[ast.stmt], bound: _Bindings) -> float | None:
    """Return what the first `return` returns that a block comes to."""
    for index, node in enumerate(body):
        match node:
            case ast.Return(ast.expr() as value):
                return _folded(value, bound)
            case ast.If(test):
                holds = _holds(test, bound)
                rest = body[index + 1 :]
                return None if holds is None else _returned([*(node.body if holds else node.orelse), *rest], bound)
            case ast.Assign([ast.Name(name)], value):
                known = _folded(value, bound)
                bound = {each: number for each, number in bound.items() if each != name}
                bound |= {} if known is None else {name: known}
            case ast.Expr(ast.Constant()):
                continue
            case _:
                return None
    return None


def _holds(test: ast.expr, bound: _Bindings) -> bool | None:
    """Whether a condition holds for a count that is known, beside lengths that are positive."""
    match test:
        case ast.BoolOp(ast.And(), values):
            parts = [_holds(each, bound) for each in values]
            return False if False in parts else None if None in parts else True
        case ast.Compare(left, [op], [right]):
            a, b = _folded(left, bound), _folded(right, bound)
            if a is not None and b is not None:
                compares = _COMPARES.get(type(op))
                return compares(a, b) if compares else None
            if a == 0 and isinstance(right, (ast.Name, ast.Attribute)):
                return {ast.Lt: True, ast.LtE: True, ast.Gt: False, ast.GtE: False}.get(type(op))
            return True if b == 0 and isinstance(left, (ast.Name, ast.Attribute)) and isinstance(op, ast.Gt) else None
        case _:
            return None


def _folded(node: ast.expr, bound: _Bindings) -> float | None:
    match node:
        case ast.Constant(int() | float() as literal):
            return literal
        case ast.Name(name):
            return bound.get(name)
        case ast.BinOp(left, op, right):
            return _computed(_folded(left, bound), op, _folded(right, bound))
        case ast.IfExp(test, body, orelse):
            holds = _holds(test, bound)
            return None if holds is None else _folded(body if holds else orelse, bound)
        case ast.Call(ast.Name("float" | "int"), [inner], []):
            return _folded(inner, bound)
        case ast.Call(ast.Name("min" | "max" as name), [_, _, *_] as args, []):
            known = [each for arg in args if (each := _folded(arg, bound)) is not None]
            return (min(known) if name == "min" else max(known)) if len(known) == len(args) else None
        case _:
            return None


def _computed(left: float | None, op: ast.operator, right: float | None) -> float | None:
    if left is None or right is None or (right == 0 and isinstance(op, (ast.Div, ast.FloorDiv, ast.Mod))):
        # Nothing divided by something that is not known is nothing.
        return 0 if left == 0 and right is None and isinstance(op, (ast.Div, ast.FloorDiv)) else None
    match op:
        case ast.Add():
            return left + right
        case ast.Sub():
            return left - right
        case ast.Mult():
            return left * right
        case ast.Div():
            return left / right
        case ast.FloorDiv():
            return left // right
        case ast.Mod():
            return left % right
        case _:
            return None
