"""Layers that a module runs on request: where an argument says so that is false by default, or an attribute that got such a one.

It knows classes by their syntax; it must not know values, events or rules.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable, Container, Iterator

from gradlint.static.syntax.nodes import called, children, defaults, spelled, walk, walk_of

_IsFlag = Callable[[ast.expr], bool]


def on_request(cls: ast.ClassDef) -> frozenset[ast.AST]:
    """Return what makes the layers that methods run only under such an argument, as in `if is_training: x = self.dropout(x)`."""

    def asks(method: ast.FunctionDef) -> _IsFlag:
        flags = _flags(method.args)
        return lambda test: isinstance(test, ast.Name) and test.id in flags

    return _run_only_under(cls, asks)


def switched_off(cls: ast.ClassDef, off: Container[str]) -> frozenset[ast.AST]:
    """Return what makes the layers that methods run only under an attribute that is one of the arguments `off`: `if self.drops:`."""
    given: dict[str, list[ast.expr]] = defaultdict(list)
    for node in walk_of(cls, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Attribute):
                given[target.attr].append(node.value)
    flags = {
        name for name, values in given.items() if all(isinstance(each, ast.Name) and each.id in off for each in values)
    }

    def is_flag(test: ast.expr) -> bool:
        return isinstance(test, ast.Attribute) and isinstance(test.value, ast.Name) and test.attr in flags

    return _run_only_under(cls, lambda _: is_flag) if flags else frozenset()


def passed_over(cls: ast.ClassDef) -> frozenset[ast.AST]:
    """Return what makes layers of a kind that a method leaves out: `if not isinstance(layer, nn.Dropout): x = layer(x)`."""
    kinds = {
        spelled(kind)
        for node in walk_of(cls, ast.UnaryOp)
        if isinstance(node.op, ast.Not) and isinstance(node.operand, ast.Call) and called(node.operand) == "isinstance"
        for kind in node.operand.args[1:]
    }
    return frozenset(call for call in walk_of(cls, ast.Call) if spelled(call.func) in kinds) if kinds else frozenset()


def _run_only_under(cls: ast.ClassDef, asks: Callable[[ast.FunctionDef], _IsFlag]) -> frozenset[ast.AST]:
    """Return what makes the attributes that methods read only where a flag is on."""
    asked: dict[str, list[bool]] = defaultdict(list)
    for method in cls.body:
        if isinstance(method, ast.FunctionDef):
            for name, requested in _read(method, asks(method), requested=False):
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


def _read(node: ast.AST, is_flag: _IsFlag, *, requested: bool) -> Iterator[tuple[str, bool]]:
    """Yield the attributes of `self` that are read below a node, and whether a flag asks for it there."""
    match node:
        case ast.Attribute(ast.Name("self"), name, ast.Load()):
            yield name, requested
        case ast.If(test) | ast.IfExp(test) if is_flag(test):
            body = node.body if isinstance(node.body, list) else [node.body]
            for child in children(node):
                yield from _read(child, is_flag, requested=requested or child in body)
        case _:
            for child in children(node):
                yield from _read(child, is_flag, requested=requested)
