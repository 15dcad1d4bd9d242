"""Who contains whom in a file: the loops, blocks and scopes around a place, as the building of a fix asks for them.

It must not know rules.
"""

from __future__ import annotations

import ast
import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from typing import TypeAlias, TypeVar

from gradlint.diagnostics import Location
from gradlint.static.sources.source import Source
from gradlint.static.syntax.nodes import root

Loop: TypeAlias = ast.For | ast.AsyncFor | ast.While
_Scope: TypeAlias = (
    ast.Module
    | ast.FunctionDef
    | ast.AsyncFunctionDef
    | ast.Lambda
    | ast.ClassDef
    | ast.ListComp
    | ast.SetComp
    | ast.DictComp
    | ast.GeneratorExp
)
_Import: TypeAlias = ast.Import | ast.ImportFrom
_Node = TypeVar("_Node", bound=ast.AST)


class Outline:
    """The tree of a file, read from the inside outwards."""

    def __init__(self, source: str, filename: str) -> None:
        self.tree = ast.parse(source, filename)
        self.filename = filename
        self.lines: Sequence[str] = list(io.StringIO(source, newline="\n"))
        self._source = Source(source, filename)
        self._parents = {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}

    def place(self, node: ast.AST) -> Location:
        """Return the stretch of source that `node` covers."""
        return self._source.place(node)

    def at(self, place: Location | None, kind: type[_Node]) -> _Node | None:
        """Return the node of this kind that covers exactly `place`, if there is one."""
        if place is None or place.filename != self.filename:
            return None
        for node in ast.walk(self.tree):
            if isinstance(node, kind) and getattr(node, "lineno", 0) == place.row and self.place(node) == place:
                return node
        return None

    def spelled(self, node: ast.expr) -> str:
        """Return the text of an expression as it stands there, on one line."""
        place = self.place(node)
        text = self.lines[place.row - 1][place.column - 1 : place.end_column - 1]
        return text if place.row == place.end_row else ast.unparse(node)

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        """Yield the nodes around `node`, innermost first."""
        while (parent := self._parents.get(node)) is not None:
            yield parent
            node = parent

    def scope(self, node: ast.AST) -> ast.AST:
        """Return the innermost function, class, comprehension or module around `node`."""
        return next(around for around in self.above(node) if isinstance(around, _Scope))

    def statement(self, node: ast.AST) -> ast.stmt:
        """Return the innermost statement that `node` belongs to."""
        return next(around for around in (node, *self.above(node)) if isinstance(around, ast.stmt))

    def block(self, statement: ast.stmt) -> list[ast.stmt]:
        """Return the statements among which `statement` stands."""
        return next(
            block
            for _, block in ast.iter_fields(self._parents[statement])
            if isinstance(block, list) and statement in block
        )

    def sibling(self, node: ast.AST, block: list[ast.stmt]) -> ast.stmt | None:
        """Return the statement of `block` that is or contains `node`, if one does."""
        return next((around for around in (node, *self.above(node)) if around in block), None)

    def loop(self, *nodes: ast.AST) -> Loop | None:
        """Return the innermost loop whose body contains all of `nodes`, if it belongs to the scope of each."""
        first, *others = nodes
        scope = self.scope(first)
        if any(self.scope(other) is not scope for other in others):
            return None
        for around in takewhile(lambda around: around is not scope, self.above(first)):
            if isinstance(around, Loop) and all(self.sibling(node, around.body) is not None for node in nodes):
                return around
        return None

    def spelling(self, name: str) -> str | None:
        """Return the shortest way in which this file can say a dotted name; None if it imports no part of it."""
        return min(self._spellings(name), key=len, default=None)

    def _spellings(self, name: str) -> Iterator[str]:
        for node in self.tree.body:
            for alias in node.names if isinstance(node, _Import) else ():
                home = f"{node.module}." if isinstance(node, ast.ImportFrom) and not node.level else ""
                whole = f"{home}{alias.name}" if alias.asname or home else alias.name.partition(".")[0]
                if f"{name}.".startswith(f"{whole}."):
                    yield (alias.asname or whole.removeprefix(home)) + name[len(whole) :]

    def imports(self, node: ast.expr) -> bool:
        """Tell whether an attribute chain begins at a name that the file imports."""
        start = root(node)
        imported = (alias for each in self.tree.body if isinstance(each, _Import) for alias in each.names)
        return isinstance(start, ast.Name) and any(
            start.id == (alias.asname or alias.name).partition(".")[0] for alias in imported
        )

    def is_argument(self, node: ast.AST) -> bool:
        """Tell whether `node` is what a call is given by position."""
        parent = self._parents[node]
        return isinstance(parent, ast.Call) and node in parent.args

    def rows(self, first: int, last: int) -> range:
        """Return the rows of the top-level statements that have a part in the rows `first` to `last`."""
        while True:
            spans = [(_first_row(node), node.end_lineno or node.lineno) for node in self.tree.body]
            near = [(first, last), *((start, end) for start, end in spans if start <= last and end >= first)]
            wider = min(start for start, _ in near), max(end for _, end in near)
            if wider == (first, last):
                return range(first, last + 1)
            first, last = wider


def begin(body: list[ast.stmt]) -> ast.stmt | None:
    """Return the first statement of a body behind its docstring, if there is one."""
    match body:
        case [ast.Expr(ast.Constant(str())), *rest]:
            return rest[0] if rest else None
        case _:
            return body[0]


def parts(*nodes: ast.AST) -> frozenset[str]:
    """Return the names, attributes and items that `nodes` are made of, as they are spelled."""
    return frozenset(ast.unparse(node) for node in _places(nodes))


def written(nodes: Sequence[ast.AST]) -> frozenset[str]:
    """Return the names, attributes and items that `nodes` bind or delete, as they are spelled."""
    stored = {ast.unparse(node) for node in _places(nodes) if not isinstance(node.ctx, ast.Load)}
    for node in (inner for outer in nodes for inner in ast.walk(outer)):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                stored.add(node.name)
            case ast.alias():
                stored.add((node.asname or node.name).split(".")[0])
            case _:
                continue
    return frozenset(stored)


def _places(nodes: Iterable[ast.AST]) -> Iterator[ast.Name | ast.Attribute | ast.Subscript]:
    for outer in nodes:
        for node in ast.walk(outer):
            if isinstance(node, (ast.Name, ast.Attribute, ast.Subscript)):
                yield node


def _first_row(statement: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    return min([statement.lineno, *(item.lineno for item in decorators)])
