"""The files around the one that is read: which of them a dotted name is.

It knows folders and syntax; it must not know values. A module is looked for where Python and its
users look: beside a script, above the package, in the folders up to the project's own (the one
that holds `.git`, `pyproject.toml`, ...) and in their `src` and `lib`. Installed packages are never read.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator
from functools import cached_property

from gradlint.static.sources.contents import Contents, contents_of, outline_of, run_at_import
from gradlint.static.sources.outlines import NOTHING, Outline, absolute
from gradlint.static.sources.sights import Sights, stamp_of
from gradlint.static.sources.source import Source

_MARKS = (".git", "pyproject.toml", "setup.py", "setup.cfg")
_SHELVES = ("src", "lib")
"""Folders beside a program, or above it, that it puts on its path."""
_INSTALLED = ("site-packages", "dist-packages")
"""Folders whose packages have nothing to do with each other."""
_MOST_LEVELS = 5
"""A project's own folder is looked for this far up."""


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
                digest, outline = outline_of(file, *stamp)
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
        digest, found = contents_of(file, *stamp)
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
        if os.path.basename(folder) in _INSTALLED and top != self._top:
            return False
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
    def _top(self) -> str:
        """The outermost package that the file belongs to, or its own name if there is none."""
        inner = os.path.relpath(self._folder, self._package_root)
        return self._stem if inner == "." else inner.split(os.sep)[0]

    @cached_property
    def _above(self) -> str:
        """The folder from which the file's own dotted name is counted."""
        return self._package_root if self._package_root != self._folder else self._folders[-1]

    @cached_property
    def _folders(self) -> tuple[str, ...]:
        found, within = [self._package_root], tuple(self._outermost_package())
        for _ in range(_MOST_LEVELS):
            if any(self.sights.is_there(os.path.join(found[-1], mark)) for mark in _MARKS):
                return (*found, *self._shelves(found), *within)
            found.append(os.path.dirname(found[-1]))
        return (*found[:3], *self._shelves(found[:2]), *within)

    def _shelves(self, folders: list[str]) -> Iterator[str]:
        """Yield the folders in some, and in those above, from which programs import though they are no packages."""
        paths = (os.path.join(folder, shelf) for folder in folders for shelf in _SHELVES)
        yield from filter(self.sights.is_folder, paths)

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


def _is_part(module: Module) -> bool:
    """Whether a file of a package imports others as its parts: nobody can start it as a program where it lies."""
    top = module.name.partition(".")[0]
    for statement in run_at_import(module.contents.tree.body):
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
