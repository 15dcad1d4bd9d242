"""What a backward pass in a loop is computed from, as far as names tell: does all of it begin in this iteration?

It knows syntax and values; it must not know states or rules.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from gradlint.static.analysis import Analysis
from gradlint.static.facts.cadence import over_batches
from gradlint.static.lowering.notes import Descent
from gradlint.static.lowering.values import Const, Instance, Items, Tensor, Unknown, Value
from gradlint.static.syntax.nodes import children, root, walk

_NUMBERS = frozenset(["item", "detach", "tolist", "numpy", "float", "print", "format", "len", "str"])
"""Calls of which nothing with a graph comes out."""
_MOVES = frozenset(
    ["to", "cuda", "cpu", "float", "half", "double", "long", "view", "reshape", "squeeze", "unsqueeze", "size"]
)
"""Methods by which a batch becomes another form of itself."""


class Inputs:
    """The names that one backward pass depends on within its innermost loop."""

    def __init__(self, analysis: Analysis, descent: Descent) -> None:
        self._analysis = analysis
        self._descent = descent
        self._loop = analysis.lowering.loop_nodes.get(descent.event.loops[-1])
        self._stores: dict[str, list[ast.AST]] = defaultdict(list)
        self._loads: dict[str, list[ast.Name]] = defaultdict(list)
        self._seen: set[str] = set()
        around = [number for number in descent.event.loops[:-1] if over_batches(analysis, number)]
        self._around = analysis.lowering.loop_nodes.get(around[0]) if around else None
        self._given: set[str] = set()

    def are_seen(self) -> bool:
        """Whether whatever goes in is made in this iteration or has no graph, and nothing with its graph goes out."""
        loop, root = self._loop, _root(self._descent.node)
        if not isinstance(loop, (ast.For, ast.While)) or not any(node is root for node in walk(loop)):
            return False
        for name in (node for node in walk(loop) if isinstance(node, ast.Name)):
            if isinstance(name.ctx, ast.Load):
                self._loads[name.id].append(name)
        for statement in walk(loop):
            for bound in _bound(statement):
                self._stores[bound].append(statement)
        return self._known(root) and not self._handed_on()

    def _known(self, expression: ast.expr) -> bool:
        return all(self._is_known(node) for node in _values(expression))

    def _is_known(self, node: ast.Name | ast.Attribute) -> bool:
        match node:
            case ast.Name(name) if name in self._stores:
                return name in self._seen or self._made_here(name)
            case ast.Name(name):
                return _without_graph(self._analysis.value(node)) or self._is_given(name)
            case ast.Attribute():
                owner = root(node)
                if isinstance(owner, ast.Name) and owner.id in self._stores:
                    return self._is_known(owner)
                value = self._analysis.value(node)
                given = isinstance(value, Unknown) and not isinstance(self._analysis.value(owner), Instance)
                return given or _without_graph(value)

    def _is_given(self, name: str) -> bool:
        """Whether a name from around the loop stands for data alone: a batch of the loop over a loader, or what is taken of one."""
        if self._around is None or name in self._given:
            return self._around is not None
        self._given.add(name)
        stores = [each for each in walk(self._around) if name in _bound(each)]
        return bool(stores) and all(
            each is self._around or self._takes(getattr(each, "value", None)) for each in stores
        )

    def _takes(self, value: ast.expr | None) -> bool:
        """Whether an expression takes a part of data, or another form of it."""
        match value:
            case ast.Name(name):
                return self._is_given(name)
            case ast.Tuple(elements):
                return all(map(self._takes, elements))
            case ast.Attribute(owner) | ast.Subscript(owner):
                return self._takes(owner)
            case ast.Call(ast.Attribute(owner, method)):
                return method in _MOVES and self._takes(owner)
            case _:
                return False

    def _made_here(self, name: str) -> bool:
        """Whether a name is bound before it is read, to what is made here."""
        self._seen.add(name)
        stores = self._stores[name]
        first = min(stores, key=lambda each: getattr(each, "lineno", 0))
        carried = [load for load in self._loads[name] if load.lineno < getattr(first, "lineno", 0)]
        if carried or isinstance(first, ast.AugAssign) or _reads(first, name):
            return False
        return all(self._known(source) for store in stores for source in self._sources(store))

    def _sources(self, store: ast.AST) -> Iterator[ast.expr]:
        match store:
            case ast.Assign(value=value) | ast.AugAssign(value=value) | ast.NamedExpr(value=value):
                yield value
            case ast.AnnAssign(value=value) if value is not None:
                yield value
            case ast.For(iter=source) if store is not self._loop:
                yield source

    def _handed_on(self) -> bool:
        """Whether something made here is stored, collected or returned with its graph."""
        for node in _own_nodes(self._descent.scope or self._analysis.tree):
            match node:
                case ast.Assign([ast.Attribute() | ast.Subscript(), *_], value) | ast.Return(value) | ast.Yield(value):
                    if value is not None and self._gives(value):
                        return True
                case ast.Call(ast.Attribute(attr="append" | "extend" | "add" | "put"), args):
                    if any(map(self._gives, args)):
                        return True
        return False

    def _gives(self, node: ast.expr) -> bool:
        match node:
            case ast.Name(name):
                value = self._analysis.value(node)
                return name in self._seen and (
                    isinstance(value, Unknown) or (isinstance(value, Tensor) and bool(value.nodes))
                )
            case ast.Call(func, args):
                called = func.attr if isinstance(func, ast.Attribute) else func.id if isinstance(func, ast.Name) else ""
                owner = [func.value] if isinstance(func, ast.Attribute) else []
                return called not in _NUMBERS and any(map(self._gives, [*owner, *args]))
            case _:
                return any(self._gives(child) for child in children(node) if isinstance(child, ast.expr))


def _own_nodes(scope: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a function, or of the module, but not those of functions defined in it."""
    todo = list(children(scope))
    while todo:
        node = todo.pop()
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield node
            todo += children(node)


def _root(call: ast.Call) -> ast.expr:
    """Return what a backward pass runs from, as it is written."""
    own = isinstance(call.func, ast.Attribute) and not call.args
    return call.func.value if own and isinstance(call.func, ast.Attribute) else [*call.args, call.func][0]


def _values(node: ast.AST) -> Iterator[ast.Name | ast.Attribute]:
    """Yield the names and attributes that an expression reads; what it calls by name is not read."""
    match node:
        case ast.Name() | ast.Attribute(value=ast.Name() | ast.Attribute()):
            yield node
        case ast.Call(func, args, keywords):
            parts: list[ast.AST] = [*args, *(keyword.value for keyword in keywords)]
            if isinstance(func, ast.Attribute):
                parts.append(func.value)
            for part in parts:
                yield from _values(part)
        case _:
            for child in children(node):
                yield from _values(child)


def _bound(statement: ast.AST) -> Iterator[str]:
    targets: list[ast.expr] = []
    match statement:
        case ast.Assign(targets):
            pass
        case ast.AugAssign(target) | ast.AnnAssign(target) | ast.For(target) | ast.NamedExpr(target):
            targets = [target]
        case ast.With(items):
            targets = [item.optional_vars for item in items if item.optional_vars is not None]
        case ast.comprehension(target):
            targets = [target]
    for target in targets:
        for node in walk(target):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id


def _reads(statement: ast.AST, name: str) -> bool:
    """Whether an assignment reads the name that it binds."""
    value = getattr(statement, "value", None)
    return value is not None and any(isinstance(node, ast.Name) and node.id == name for node in walk(value))


def _without_graph(value: Value) -> bool:
    match value:
        case Unknown():
            return False
        case Tensor(nodes=nodes):
            return not nodes
        case Items(elements):
            return all(map(_without_graph, elements))
        case Const() | _:
            return True
