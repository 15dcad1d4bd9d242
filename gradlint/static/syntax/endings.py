"""What the `forward` of a module of another file certainly ends in: a softmax, a sigmoid, ... that a loss may apply again.

Such a module is as good as a library's, and not interpreted; its `return` statements are read. It knows syntax and what
names stand for; it must not know events or rules.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

from gradlint.data import NamedTuple
from gradlint.static.lowering.values import Library, Value
from gradlint.static.sources.library import made_by, words
from gradlint.static.syntax.nodes import children, walk
from gradlint.static.syntax.questions import FunctionNode

SEQUENCES = frozenset(["torch.nn.Sequential", "torch.nn.modules.Sequential", "torch.nn.modules.container.Sequential"])
"""Modules that return what the last of their arguments returns."""


class Ending(NamedTuple):
    """An activation that a result certainly is, by its word, and the call that applies it."""

    op: str
    node: ast.AST


class Forward(NamedTuple):
    """A `forward`, the classes whose attributes it has, and what names stand for there."""

    function: FunctionNode
    lineage: tuple[ast.ClassDef, ...]
    named: Callable[[ast.expr], Value]

    def endings(self) -> tuple[Ending | None, ...]:
        """Return what each part of the result ends in, on all paths; one part, unless all paths return as many."""
        results = [_elements(node.value) for node in returns(self.function)]
        if not results or len({len(each) for each in results}) > 1:
            return (None,)
        return tuple(self._common([self._of(node) for node in column]) for column in zip(*results, strict=True))

    def _common(self, found: list[Ending | None]) -> Ending | None:
        ops = {each.op if each is not None else "" for each in found}
        return found[0] if len(ops) == 1 else None

    def _of(self, node: ast.expr | None, *, named: bool = True) -> Ending | None:
        match node:
            case ast.Call(ast.Attribute(ast.Name("self"), layer)):
                return self._ended(self._layer(layer), node)
            case ast.Call(ast.Attribute(attr=method)) if method in words("tensor", "made"):
                return Ending(method, node)
            case ast.Call(ast.Attribute(inner, method)) if method in words("tensor", "shaping"):
                return self._of(inner, named=named)
            case ast.Call(callee):
                value = self.named(callee)
                return self._ended(made_by(value.name) if isinstance(value, Library) else "", node)
            case ast.Name(name) if named:
                return self._of(_last(self.function, name), named=False)
            case _:
                return None

    def _ended(self, op: str, node: ast.AST) -> Ending | None:
        return Ending(op, node) if op else None

    def _layer(self, name: str) -> str:
        """Return what the layer `self.{name}` does, if it is assigned once."""
        made = [
            node.value
            for cls in self.lineage
            for node in walk(cls)
            if isinstance(node, ast.Assign) and any(_is_own(target, name) for target in node.targets)
        ]
        return self._made(made[0]) if len(made) == 1 else ""

    def _made(self, node: ast.expr) -> str:
        if not isinstance(node, ast.Call):
            return ""
        callee = self.named(node.func)
        if not isinstance(callee, Library):
            return ""
        if callee.name in SEQUENCES:
            return self._made(node.args[-1]) if node.args else ""
        return made_by(callee.name)


def _elements(node: ast.expr | None) -> list[ast.expr | None]:
    return list(node.elts) if isinstance(node, ast.Tuple) else [node]


def _is_own(target: ast.expr, name: str) -> bool:
    return isinstance(target, ast.Attribute) and target.attr == name


def returns(function: FunctionNode) -> Iterator[ast.Return]:
    """Yield the `return` statements of a function itself, not of functions inside of it."""
    todo = list(children(function))
    while todo:
        node = todo.pop(0)
        if isinstance(node, ast.Return):
            yield node
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            todo.extend(children(node))


def _last(function: FunctionNode, name: str) -> ast.expr | None:
    """Return what a name is given last, if that is certain: no branch or loop does it later."""
    bound = [node for node in walk(function) if isinstance(node, ast.Name) and node.id == name and _is_bound(node)]
    row = max((node.lineno for node in bound), default=0)
    for statement in function.body:
        match statement:
            case ast.Assign([ast.Name(id=target)], value) if target == name and statement.lineno == row:
                return value
    return None


def _is_bound(node: ast.Name) -> bool:
    return isinstance(node.ctx, (ast.Store, ast.Del))
