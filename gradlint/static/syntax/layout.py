"""Where things stand in a file: the function around a row, the headers of the blocks around it, the node at a place.

It knows `ast` and text; it must not know events.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import TypeAlias

from gradlint.diagnostics import Location
from gradlint.regex import regex
from gradlint.static.sources.source import Source

_Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
_Block: TypeAlias = (
    ast.For | ast.AsyncFor | ast.While | ast.If | ast.With | ast.AsyncWith | ast.Try | ast.Match | _Function
)
_ELSE = regex(r"\s*(?:else|finally)\s*:")


class Layout:
    """The rows of one file."""

    def __init__(self, tree: ast.Module, source: Source) -> None:
        self._source = source
        self._lines = source.text.split("\n")
        self._functions = dict(_functions(tree, ""))
        self._blocks = [node for node in ast.walk(tree) if isinstance(node, _Block)]
        self._nodes = list(ast.walk(tree))

    def scope_row(self, row: int) -> int:
        """Return the row of the innermost function around a row; 0 for the module."""
        around = [node.lineno for node in self._functions if node.lineno <= row <= _end(node)]
        return max(around, default=0)

    def scope_name(self, row: int) -> str:
        """Return the qualified name of the function that begins at a row; 0 is the module."""
        return next((name for node, name in self._functions.items() if node.lineno == row), "module")

    def headers(self, scope: int, rows: set[int]) -> tuple[int, ...]:
        """Return the rows that begin the blocks around `rows`, as far as the function at row `scope`."""
        found = {header for row in rows for header in self._around(row) if header >= scope}
        return tuple(sorted(found - rows))

    def at(self, place: Location) -> ast.AST | None:
        """Return the outermost expression (else statement) that covers exactly `place`."""
        return self._places.get(place)

    @cached_property
    def _places(self) -> dict[Location, ast.AST]:
        places: dict[Location, ast.AST] = {}
        for kind in (ast.expr, ast.stmt):
            for node in self._nodes:
                if isinstance(node, kind):
                    places.setdefault(self._source.place(node), node)
        return places

    def _around(self, row: int) -> Iterator[int]:
        for block in self._blocks:
            if block.lineno <= row <= _end(block):
                yield block.lineno
                yield from self._branch(block, row)

    def _branch(self, block: _Block, row: int) -> Iterator[int]:
        """Yield the row of the `else`, `except`, `finally` or `case` of a block that a row belongs to."""
        for part in (*getattr(block, "handlers", ()), *getattr(block, "cases", ())):
            first = part.lineno if isinstance(part, ast.ExceptHandler) else part.pattern.lineno
            if first <= row <= part.body[-1].end_lineno:
                yield first
        for name in ("orelse", "finalbody"):
            body = getattr(block, name, None)
            if body and body[0].lineno <= row <= _end(body[-1]):
                yield from self._word_above(body[0].lineno, block.lineno)

    def _word_above(self, row: int, top: int) -> Iterable[int]:
        """Return the row of the `else` or `finally` whose first statement is at `row`; an `elif` is its own."""
        if self._lines[row - 1].lstrip().startswith("elif"):
            return ()
        rows = range(row, top, -1)
        return [above for above in rows if _ELSE.match(self._lines[above - 1])][:1]


def _end(node: ast.stmt) -> int:
    return node.end_lineno or node.lineno


def _functions(node: ast.AST, prefix: str) -> Iterator[tuple[_Function, str]]:
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield child, prefix + name
                yield from _functions(child, f"{prefix}{name}.")
            case ast.ClassDef(name=name):
                yield from _functions(child, f"{prefix}{name}.")
            case _:
                yield from _functions(child, prefix)
