"""Idioms of training code, by how they are written: a sum that goes on, the weights of a module.

It knows `ast` only; it must not know values, and keeps no answers (`syntax` does).
"""

from __future__ import annotations

import ast


def goes_on(value: ast.expr, name: str) -> bool:
    """Whether an expression adds to what `name` is: `name + x`, `0.9 * name + x`, `(name * n + x) / (n + 1)`."""
    match value:
        case ast.BinOp(left, ast.Add() | ast.Sub(), right):
            return any(_is_multiple(each, name) or goes_on(each, name) for each in (left, right))
        case ast.BinOp(left, ast.Mult() | ast.Div(), right):
            return goes_on(left, name) or goes_on(right, name)
        case ast.IfExp(ast.Compare(ast.Name(asked), [ast.Is() | ast.IsNot()], [ast.Constant(None)]), body, orelse):
            # `x if mean is None else 0.9 * mean + x`
            return asked == name and (goes_on(body, name) or goes_on(orelse, name))
        case _:
            return False


def _is_multiple(value: ast.expr, name: str) -> bool:
    match value:
        case ast.Name(spelled):
            return spelled == name
        case ast.BinOp(left, ast.Mult(), right):
            return _is_multiple(left, name) or _is_multiple(right, name)
        case ast.BinOp(left, ast.Div(), _):
            return _is_multiple(left, name)
        case _:
            return False


def counter_of(target: ast.expr, source: ast.expr) -> str:
    """Return the name that numbers the turns of a loop, as `enumerate` and `range` do ("": there is none)."""
    match target, source:
        case ast.Tuple([ast.Name(name), *_]), ast.Call(ast.Name("enumerate")):
            return name
        case ast.Name(name), ast.Call(ast.Name("range" | "trange")):
            return name
        case _:
            return ""


def uncounted(target: ast.expr, source: ast.expr) -> tuple[ast.expr, ast.expr]:
    """Return what takes the parts of what a loop goes over, and what that is, out of an `enumerate`."""
    match target, source:
        case ast.Tuple([_, part]), ast.Call(ast.Name("enumerate"), [counted, *_]):
            return part, counted
        case _:
            return target, source


def weights_of(node: ast.expr) -> ast.expr | None:
    """Return the module whose weights an expression lists: `m.parameters()`, `m.state_dict().values()`."""
    match node:
        case ast.Call(ast.Attribute(inner, "values" | "items"), []):
            return weights_of(inner)
        case ast.Call(ast.Attribute(owner, "parameters" | "named_parameters" | "buffers" | "state_dict"), []):
            return owner
        case _:
            return None
