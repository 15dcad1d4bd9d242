"""Conditions that hold the first time they are asked: what they bind, and nobody else does, is read behind them.

It knows syntax; it must not know values.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Sequence

from gradlint.static.syntax.nodes import children, own, walk, walk_of

_JUMPS = (ast.Return, ast.Break, ast.Continue, ast.Raise)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_BLOCKS = ("body", "orelse", "finalbody")
_LATER = (ast.Lambda, ast.IfExp, ast.BoolOp, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
"""Expressions of which not every part is surely evaluated."""


def first_time(scope: ast.AST) -> frozenset[ast.If]:
    """Return the conditions of a function that hold the first time: else a name would be read that nothing has bound."""
    bound = Counter(_bound(own(scope)))
    elsewhere = _otherwise(scope)
    found = set()
    for block in _blocks(scope):
        for index, statement in enumerate(block):
            if isinstance(statement, ast.If) and not _jumps(statement):
                inside = Counter(name for each in statement.body for name in _bound(walk(each)))
                only = {name for name in inside if inside[name] == bound[name]} - elsewhere
                if only and only & set(_surely_read(block[index + 1 :])):
                    found.add(statement)
    return frozenset(found)


def _bound(nodes: Iterator[ast.AST] | list[ast.AST]) -> Iterator[str]:
    return (node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))


def _otherwise(scope: ast.AST) -> set[str]:
    """Return the names that a function has from its caller, or binds without an assignment."""
    found = {arg.arg for node in children(scope) if isinstance(node, ast.arguments) for arg in walk_of(node, ast.arg)}
    for node in own(scope):
        match node:
            case ast.Global(names) | ast.Nonlocal(names):
                found |= set(names)
            case ast.Import(aliases) | ast.ImportFrom(names=aliases):
                found |= {(each.asname or each.name).split(".")[0] for each in aliases}
            case ast.FunctionDef(name) | ast.AsyncFunctionDef(name) | ast.ClassDef(name):
                found.add(name)
            case ast.ExceptHandler(name=str(name)):
                found.add(name)
            case _:
                continue
    return found


def _blocks(scope: ast.AST) -> Iterator[list[ast.stmt]]:
    for node in (scope, *own(scope)):
        for name in _BLOCKS:
            block = getattr(node, name, None)
            if isinstance(block, list) and (node is scope or not isinstance(node, _SCOPES)):
                yield block


def _surely_read(statements: Sequence[ast.stmt]) -> Iterator[str]:
    """Yield the names that are read whenever some statements are reached, up to the first from which control may go elsewhere."""
    for statement in statements:
        yield from _evaluated(statement)
        if _jumps(statement):
            return


def _evaluated(statement: ast.stmt) -> Iterator[str]:
    todo: list[ast.AST] = [statement]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield node.id
        match node:
            case ast.If(test) | ast.While(test):
                todo.append(test)
            case ast.For(iter=source) | ast.AsyncFor(iter=source):
                todo.append(source)
            case ast.With(items) | ast.AsyncWith(items):
                todo += [each.context_expr for each in items]
            case ast.Try() | ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() | ast.Match():
                continue
            case _ if isinstance(node, _LATER):
                continue
            case _:
                todo += children(node)


def _jumps(statement: ast.stmt) -> bool:
    return any(isinstance(node, _JUMPS) for node in walk(statement))
