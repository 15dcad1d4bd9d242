"""Layers that a module runs on request: where an argument says so that is false by default.

It knows classes by their syntax; it must not know values, events or rules.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from gradlint.static.syntax.nodes import children, defaults, walk


def on_request(cls: ast.ClassDef) -> frozenset[ast.AST]:
    """Return what makes the layers that methods run only under such an argument, as in `if is_training: x = self.dropout(x)`."""
    asked: dict[str, list[bool]] = defaultdict(list)
    for method in cls.body:
        if isinstance(method, ast.FunctionDef):
            for name, requested in _read(method, _flags(method.args), requested=False):
                asked[name].append(requested)
    made = [node for node in walk(cls) if isinstance(node, ast.Assign)]
    return frozenset(
        node.value
        for node in made
        for target in node.targets
        if isinstance(target, ast.Attribute) and asked[target.attr] and all(asked[target.attr])
    )


def _flags(arguments: ast.arguments) -> frozenset[str]:
    """Return the arguments that are false by default."""
    pairs = defaults(arguments)
    return frozenset(name for name, default in pairs if isinstance(default, ast.Constant) and not default.value)


def _read(node: ast.AST, flags: frozenset[str], *, requested: bool) -> Iterator[tuple[str, bool]]:
    """Yield the attributes of `self` that are read below a node, and whether a flag asks for it there."""
    match node:
        case ast.Attribute(ast.Name("self"), name, ast.Load()):
            yield name, requested
        case ast.If(ast.Name(name)) | ast.IfExp(ast.Name(name)) if name in flags:
            body = node.body if isinstance(node.body, list) else [node.body]
            for child in children(node):
                yield from _read(child, flags, requested=requested or child in body)
        case _:
            for child in children(node):
                yield from _read(child, flags, requested=requested)
