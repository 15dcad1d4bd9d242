"""The nodes of a syntax tree, walked as fast as Python can and once per scope, for many questions are asked of each.

It knows `ast` only. The marks of names and operators (`ast.Load`, `ast.Add`, ...) are not among the nodes: they are read
from the nodes that have them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

_PLAIN = frozenset(
    [
        "arg",
        "asname",
        "attr",
        "conversion",
        "ctx",
        "id",
        "is_async",
        "kind",
        "kwd_attrs",
        "level",
        "module",
        "name",
        "op",
        "ops",
        "rest",
        "simple",
        "type_comment",
        "type_ignores",
    ]
)
"""Fields that hold no nodes, or only marks."""
_KEPT = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef, ast.For, ast.AsyncFor, ast.While)
"""What is asked about again and again."""

_fields: dict[type[ast.AST], tuple[str, ...]] = dict.fromkeys(
    (ast.Constant, ast.MatchSingleton, ast.Global, ast.Nonlocal), ()
)


def children(node: ast.AST) -> list[ast.AST]:
    """Return the nodes right below a node, in order."""
    found: list[ast.AST] = []
    _descend(iter((node,)), found)
    return found


def walk(node: ast.AST) -> list[ast.AST]:
    """Return a node and all below it, breadth first."""
    return [node, *below(node)]


def names(node: ast.AST) -> Iterator[ast.Name]:
    """Yield the names in a node."""
    return (each for each in walk(node) if isinstance(each, ast.Name))


def words(node: ast.AST) -> set[str]:
    """Return the texts of the names in a node."""
    return {each.id for each in names(node)}


def root(node: ast.AST) -> ast.AST:
    """Return what a chain of attributes begins with."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node


def called(call: ast.Call) -> str:
    """Return the name of the function or method that a call is of, "" if it has none."""
    match call.func:
        case ast.Name(name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def receiver(call: ast.Call) -> str:
    """Return the text of what a method is called of, "" for a function."""
    return ast.unparse(call.func.value) if isinstance(call.func, ast.Attribute) else ""


def own(scope: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes below a scope in order, but for what is below a function or class in it."""
    known: list[ast.AST] | None = getattr(scope, "_own", None)
    if known is None:
        known, todo = [], children(scope)[::-1]
        while todo:
            node = todo.pop()
            known.append(node)
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
                todo += children(node)[::-1]
        if isinstance(scope, _KEPT):
            scope._own = known  # type: ignore[union-attr]
    return iter(known)


def below(node: ast.AST) -> list[ast.AST]:
    """Return all nodes below a node, breadth first; whoever gets the list must not change it."""
    known: list[ast.AST] | None = getattr(node, "_below", None)
    if known is not None:
        return known
    found = children(node)
    _descend(iter(found), found)  # It grows meanwhile.
    if isinstance(node, _KEPT):
        node._below = found  # type: ignore[union-attr]
    return found


def _descend(nodes: Iterator[ast.AST], found: list[ast.AST]) -> None:
    """Add the children of each of `nodes` to `found`."""
    fields = _fields
    for node in nodes:
        names = fields.get(type(node))
        if names is None:
            names = fields[type(node)] = tuple(name for name in node._fields if name not in _PLAIN)
        for name in names:
            value = getattr(node, name, None)
            if value is None:
                continue
            if type(value) is not list:
                found.append(value)
            elif None in value:
                found += [each for each in value if each is not None]
            else:
                found += value
