"""The files around the one that is read: which of them a dotted name is, and where its names are bound.

It knows folders and syntax; it must not know values. A module is looked for where Python and its
users look: beside a script, above the package, in the folders up to the project's own (the one
that holds `.git`, `pyproject.toml`, ...) and in that one's `src`. Installed packages are never read.
"""

from __future__ import annotations

import ast
import functools
import os
import sys
import warnings
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cached_property

from gradlint.static.sources import reading
from gradlint.static.sources.outlines import NOTHING, Outline, absolute, stars
from gradlint.static.sources.shelf import Shelf
from gradlint.static.sources.sights import Sights, digest_of, stamp_of
from gradlint.static.sources.source import Source
from gradlint.static.syntax.nodes import walk

_MARKS = (".git", "pyproject.toml", "setup.py", "setup.cfg")
_MOST_LEVELS = 5
"""A project's own folder is looked for this far up."""
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

    @cached_property
    def bindings(self) -> Mapping[str, list[ast.stmt]]:
        """The statements that bind each of the module's names, in order."""
        found: dict[str, list[ast.stmt]] = defaultdict(list)
        for statement in _simple(self.tree.body):
            for name in _bound(statement):
                found[name].append(statement)
        return dict(found)

    def says(self, words: frozenset[str], node: ast.AST) -> bool:
        """Whether one of `words` stands in the rows of a node: to look costs less than to walk."""
        if words not in self._rows:
            self._rows[words] = sorted({row for word in words for row in _rows(self.text, word)})
        rows = self._rows[words]
        if isinstance(node, ast.Module):
            return bool(rows)
        at = bisect_left(rows, getattr(node, "lineno", 0))
        return at < len(rows) and rows[at] <= (getattr(node, "end_lineno", None) or rows[at])

    @cached_property
    def rebound(self) -> frozenset[str]:
        """The names that functions of the module may bind anew."""
        if "global" not in self.text:
            return frozenset()
        return frozenset(name for node in walk(self.tree) if isinstance(node, ast.Global) for name in node.names)

    @cached_property
    def outline(self) -> Outline:
        """What the module binds, without its tree."""
        return Outline(frozenset(self.bindings), tuple(stars(self.tree, _simple(self.tree.body))))


class Module:
    """A parsed file under its dotted name."""

    def __init__(self, name: str, source: Source, contents: Contents, *, is_package: bool = False) -> None:
        self.name = name
        self.source = source
        self.contents = contents
        self.package = name if is_package else name.rpartition(".")[0]

    def absolute(self, module: str, level: int) -> str:
        """Return the full name of what `from {level dots}{module} import` names here; empty where that is beyond the top."""
        return absolute(self.package, module, level)


class Project:
    """The modules that are in sight from one file (none, unless it is `sighted`).

    What the packages `libraries` do is known; their files are read for their own sake only.
    """

    def __init__(self, filename: str, libraries: frozenset[str] = frozenset(), *, sighted: bool = True) -> None:
        self.sights = Sights()
        self._libraries = libraries
        self._sighted = sighted
        self._relative = not os.path.isabs(filename)
        self._folder = os.path.dirname(os.path.abspath(filename))
        self._stem = os.path.splitext(os.path.basename(filename))[0]
        self._main: Module | None = None
        self._known: dict[str, Module | None] = {}
        self._held: dict[str, bool] = {}
        self._exports: dict[str, frozenset[str]] = {}
        self._tops: dict[str, tuple[str, ...]] = {}

    def main(self, source: Source, tree: ast.Module) -> Module:
        """Return the file itself as a module."""
        above = self._above
        names = [*os.path.relpath(self._folder, above).split(os.sep), self._stem]
        parts = [name for name in names if name not in (".", "__init__")]
        module = Module(".".join(parts), source, Contents(source.text, tree), is_package=self._stem == "__init__")
        self._main = module
        return module

    def holds(self, name: str) -> bool:
        """Whether there is a file in sight of that dotted name; it need not be readable."""
        if name not in self._held:
            self._held[name] = self._sighted and any(self.sights.is_file(file) for file, _ in self._files(name))
        return self._held[name]

    def module(self, name: str) -> Module | None:
        """Return the module of that dotted name, if its file is in sight."""
        if name not in self._known and self._sighted:
            self._known[name] = None
            self._known[name] = next(self._candidates(name), None)
        return self._known.get(name)

    def exports(self, name: str) -> frozenset[str]:
        """Return the names that a module binds, itself or by `import *`; no tree is kept for that, for there may be thousands."""
        if name not in self._exports:
            found, todo, seen = set[str](), [name], {name}
            while todo:
                package, outline = self._outlined(todo.pop())
                found |= outline.names
                homes = (absolute(package, star.module, star.level) for star in outline.stars)
                new = [home for home in dict.fromkeys(homes) if home and home not in seen]
                seen.update(new)
                todo += new
            self._exports[name] = frozenset(found)
        return self._exports[name]

    def _outlined(self, name: str) -> tuple[str, Outline]:
        """Return the package that a module belongs to, and its outline."""
        known = self._known.get(name)
        if known is not None:
            return known.package, known.contents.outline
        for file, is_package in self._files(name) if self._sighted else ():
            if self.sights.is_file(file):
                stamp = stamp_of(file)
                digest, outline = _outline(file, *stamp)
                self.sights.reads(file, stamp, digest)
                if outline is not None:
                    return name if is_package else name.rpartition(".")[0], outline
        return "", NOTHING

    def _candidates(self, name: str) -> Iterator[Module]:
        for file, is_package in self._files(name):
            if self._main is not None and file == os.path.join(self._folder, f"{self._stem}.py"):
                yield self._main
            if self.sights.is_file(file) and (found := self._read(file)) is not None:
                source = Source(found.text, os.path.relpath(file) if self._relative else file)
                yield Module(name, source, found, is_package=is_package)

    def _read(self, file: str) -> Contents | None:
        stamp = stamp_of(file)
        digest, found = _contents(file, *stamp)
        self.sights.reads(file, stamp, digest)
        return found

    def _files(self, name: str) -> Iterator[tuple[str, bool]]:
        """Yield the files that may have a dotted name, and whether that makes it a package."""
        top, *rest = name.split(".")
        for folder in self._homes(top):
            path = os.path.join(folder, top, *rest)
            yield f"{path}.py", False
            # Whether it is there the folder around it tells, too: a later run need not ask.
            if self.sights.is_folder(path):
                yield os.path.join(path, "__init__.py"), True

    def _homes(self, top: str) -> tuple[str, ...]:
        """Return the folders that have a module or a package `top`."""
        if top in self._libraries and self._main is not None and self._main.name.split(".")[0] != top:
            return ()
        if top not in self._tops:
            # A script's neighbours hide the standard library, what lies further away does not.
            folders = self._folders[:1] if top in sys.stdlib_module_names else (*self._folders, *self._inner_packages)
            self._tops[top] = tuple(folder for folder in folders if self._has(folder, top))
        return self._tops[top]

    def _has(self, folder: str, top: str) -> bool:
        path = os.path.join(folder, top)
        return self.sights.is_file(f"{path}.py") or self.sights.is_folder(path)

    @cached_property
    def _package_root(self) -> str:
        """The folder above the package that the file belongs to; its own folder if there is none."""
        folder = self._folder
        while self.sights.is_file(os.path.join(folder, "__init__.py")) and folder != os.path.dirname(folder):
            folder = os.path.dirname(folder)
        return folder

    @cached_property
    def _above(self) -> str:
        """The folder from which the file's own dotted name is counted."""
        return self._package_root if self._package_root != self._folder else self._folders[-1]

    @cached_property
    def _folders(self) -> tuple[str, ...]:
        found, within = [self._package_root], tuple(self._outermost_package())
        for _ in range(_MOST_LEVELS):
            if any(self.sights.is_there(os.path.join(found[-1], mark)) for mark in _MARKS):
                return (*found, os.path.join(found[-1], "src"), *within)
            found.append(os.path.dirname(found[-1]))
        return (*found[:3], *within)

    def _outermost_package(self) -> Iterator[str]:
        """Yield the folder of the outermost package around the file's own: a program may be started there, as if nothing were above."""
        folder = self._folder
        while os.path.dirname(folder) != self._package_root and folder != self._package_root:
            folder = os.path.dirname(folder)
        if folder not in (self._folder, self._package_root):
            yield folder

    @cached_property
    def _inner_packages(self) -> tuple[str, ...]:
        """The other packages around the file, from where it may import its neighbours, unless it says that it is a part of a package."""
        if self._package_root == self._folder or self._main is None or _is_part(self._main):
            return ()
        found = [self._folder]
        while os.path.dirname(found[-1]) != self._package_root:
            found.append(os.path.dirname(found[-1]))
        return tuple(reversed(found))


_shelf: Shelf[tuple[str, int, int], tuple[bytes, Contents | None]] = Shelf(_ROOM, _MOST_TREES)


def _contents(file: str, changed: int, size: int) -> tuple[bytes, Contents | None]:
    """Return what a file holds as it is now, with its digest; None for what cannot be read, which its own check tells."""
    return _shelf.get((file, changed, size), size, lambda: _parsed(file, size))


@functools.lru_cache(maxsize=1 << 12)
def _outline(file: str, changed: int, size: int) -> tuple[bytes, Outline | None]:
    digest, contents = _contents(file, changed, size)
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


def _is_part(module: Module) -> bool:
    """Whether a file of a package imports others as its parts: nobody can start it as a program where it lies."""
    top = module.name.partition(".")[0]
    for statement in _simple(module.contents.tree.body):
        match statement:
            case ast.ImportFrom(level=0, module=name) if (name or "").partition(".")[0] != top:
                continue
            case ast.ImportFrom():
                return True
            case ast.Import(names) if any(alias.name.partition(".")[0] == top for alias in names):
                return True
            case _:
                continue
    return False


def _rows(text: str, word: str) -> Iterator[int]:
    row, begin = 1, 0
    at = text.find(word)
    while at >= 0:
        row += text.count("\n", begin, at)
        begin = at
        yield row
        at = text.find(word, at + 1)


def _simple(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements of a module that run at import, those of branches included."""
    for statement in body:
        match statement:
            case ast.If(test=test, body=then, orelse=orelse):
                main = isinstance(test, ast.Compare) and ast.unparse(test.left) == "__name__"
                yield from _simple([*(then if not main else ()), *orelse])
            case ast.Try(body=tried, handlers=handlers, orelse=orelse, finalbody=final):
                yield from _simple([*tried, *orelse, *(each for item in handlers for each in item.body), *final])
            case ast.With(body=inner):
                yield from _simple(inner)
            case _:
                yield statement


def _bound(statement: ast.stmt) -> Iterator[str]:
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Import(names=names):
            yield from (alias.asname or alias.name.split(".")[0] for alias in names)
        case ast.ImportFrom(names=names):
            yield from (alias.asname or alias.name for alias in names if alias.name != "*")
        case ast.Assign(targets=targets):
            yield from (node.id for target in targets for node in walk(target) if isinstance(node, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name)) | ast.AugAssign(target=ast.Name(id=name)):
            yield name
        case ast.For() | ast.While():
            yield from (
                node.id for node in walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
            )
        case _:
            return
