"""What a file holds: its text, its tree and what it binds, parsed once for all who ask while there is room.

It knows syntax; it must not know folders or values.
"""

from __future__ import annotations

import ast
import functools
import os
import warnings
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import accumulate

from gradlint.static.sources import reading
from gradlint.static.sources.outlines import Outline, Star, stars
from gradlint.static.sources.shelf import Shelf
from gradlint.static.sources.sights import digest_of, stamp_of
from gradlint.static.syntax.nodes import walk

_LARGEST = 2_000_000
"""Larger files (in bytes) are data."""
_ROOM, _MOST_TREES = 2_500_000, 256
"""So much text is kept with its trees, which take a hundred times as much memory."""


class Contents:
    """What a file holds, and what it binds; that is the same whoever asks."""

    def __init__(self, text: str, tree: ast.Module) -> None:
        self.text = text
        self.tree = tree
        self._rows: dict[frozenset[str], list[int]] = {}
        self._said: dict[frozenset[str], bool] = {}

    @cached_property
    def bindings(self) -> Mapping[str, list[ast.stmt]]:
        """The statements that bind each of the module's names, in order."""
        found: dict[str, list[ast.stmt]] = defaultdict(list)
        for statement in run_at_import(self.tree.body):
            for name in _bound(statement):
                found[name].append(statement)
        return dict(found)

    def says(self, words: frozenset[str], node: ast.AST) -> bool:
        """Whether one of `words` stands in the rows of a node: to look costs less than to walk."""
        if isinstance(node, ast.Module):
            # Each statement of a module asks, and a table of data has thousands.
            if words not in self._said:
                self._said[words] = any(word in self.text for word in words)
            return self._said[words]
        if words not in self._rows:
            self._rows[words] = sorted({row for word in words for row in self._rows_with(word)})
        rows = self._rows[words]
        if not rows:
            return False
        at = bisect_left(rows, getattr(node, "lineno", 0))
        return at < len(rows) and rows[at] <= (getattr(node, "end_lineno", None) or rows[at])

    def _rows_with(self, word: str) -> Iterator[int]:
        at = self.text.find(word)
        while at >= 0:
            row = bisect_left(self._ends, at)
            yield row + 1
            at = self.text.find(word, self._ends[row])

    @cached_property
    def _ends(self) -> list[int]:
        """Where each row ends."""
        lengths = map(len, self.text.split("\n"))
        return [end + row for row, end in enumerate(accumulate(lengths))]

    @cached_property
    def rebound(self) -> frozenset[str]:
        """The names that functions of the module may bind anew."""
        if "global" not in self.text:
            return frozenset()
        return frozenset(name for node in walk(self.tree) if isinstance(node, ast.Global) for name in node.names)

    @cached_property
    def outline(self) -> Outline:
        """What the module binds, without its tree."""
        return Outline(frozenset(self.bindings), self.stars)

    @cached_property
    def stars(self) -> tuple[Star, ...]:
        """From which modules it takes all."""
        return tuple(stars(self.tree, run_at_import(self.tree.body)))


_shelf: Shelf[tuple[str, int, int], tuple[bytes, Contents | None]] = Shelf(_ROOM, _MOST_TREES)


def contents_of(file: str, changed: int, size: int) -> tuple[bytes, Contents | None]:
    """Return what a file holds as it is now, with its digest; None for what cannot be read, which its own check tells."""
    return _shelf.get((file, changed, size), size, lambda: _parsed(file, size))


def tree_kept(file: str, text: str) -> ast.Module | None:
    """Return the tree of a text if it was parsed because others import the file that it is from, and there was room."""
    _, contents = _shelf.kept((os.path.abspath(file), *stamp_of(file))) or (b"", None)
    return contents.tree if contents is not None and contents.text == text else None


@functools.lru_cache(maxsize=1 << 12)
def outline_of(file: str, changed: int, size: int) -> tuple[bytes, Outline | None]:
    """Return what a file binds, with its digest; for that no tree is kept."""
    digest, contents = contents_of(file, changed, size)
    return digest, None if contents is None else contents.outline


def _parsed(file: str, size: int) -> tuple[bytes, Contents | None]:
    digest = b""
    try:
        data = reading.read(file)
        digest = digest_of(data)
        if size > _LARGEST:
            return digest, None
        text = reading.decode(data, file)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return digest, Contents(text, ast.parse(text, file))
    except (reading.Unreadable, SyntaxError, ValueError, RecursionError, MemoryError):
        return digest, None


def run_at_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements of a module that run at import, those of branches included."""
    for statement in body:
        if isinstance(statement, ast.If):
            test = statement.test
            main = isinstance(test, ast.Compare) and isinstance(test.left, ast.Name) and test.left.id == "__name__"
            yield from run_at_import([*(statement.body if not main else ()), *statement.orelse])
        elif isinstance(statement, ast.Try):
            handled = (each for handler in statement.handlers for each in handler.body)
            yield from run_at_import([*statement.body, *statement.orelse, *handled, *statement.finalbody])
        elif isinstance(statement, ast.With):
            yield from run_at_import(statement.body)
        else:
            yield statement


def _bound(statement: ast.stmt) -> Iterator[str]:
    match statement:
        case ast.Expr():
            return
        case ast.Assign(targets=targets):
            yield from (node.id for target in targets for node in walk(target) if isinstance(node, ast.Name))
        case ast.Import(names=names):
            yield from (alias.asname or alias.name.split(".")[0] for alias in names)
        case ast.ImportFrom(names=names):
            yield from (alias.asname or alias.name for alias in names if alias.name != "*")
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.AnnAssign(target=ast.Name(id=name)) | ast.AugAssign(target=ast.Name(id=name)):
            yield name
        case ast.For() | ast.While():
            yield from (
                node.id for node in walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
            )
        case _:
            return
