"""The nodes of a syntax tree, walked as fast as Python can and once per scope, for many questions are asked of each.

It knows `ast` only. The marks of names and operators (`ast.Load`, `ast.Add`, ...) are not among the nodes: they are read
from the nodes that have them.
"""

from __future__ import annotations

import ast

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
    _add_children(node, found)
    return found


def walk(node: ast.AST) -> list[ast.AST]:
    """Return a node and all below it, breadth first."""
    return [node, *below(node)]


def below(node: ast.AST) -> list[ast.AST]:
    """Return all nodes below a node, breadth first; whoever gets the list must not change it."""
    known: list[ast.AST] | None = getattr(node, "_below", None)
    if known is not None:
        return known
    found = children(node)
    for each in found:  # It grows meanwhile.
        _add_children(each, found)
    if isinstance(node, _KEPT):
        node._below = found  # type: ignore[union-attr]
    return found


def _add_children(node: ast.AST, found: list[ast.AST]) -> None:
    kind = type(node)
    names = _fields.get(kind)
    if names is None:
        names = _fields[kind] = tuple(name for name in node._fields if name not in _PLAIN)
    for name in names:
        value = getattr(node, name, None)
        if type(value) is list:
            found += value if None not in value else [each for each in value if each is not None]
        elif value is not None:
            found.append(value)
