"""Other files: what a name that is imported from one of them stands for.

It knows modules and frames; it must not know events or rules. Nothing of another file is lowered
before somebody asks for a name that it binds, and then only the statement that binds it: what
importing the file does besides is taken to be nothing.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager

from gradlint.static.flow.tree import Uid
from gradlint.static.lowering.branches import Branches
from gradlint.static.lowering.frames import Frame, Grad
from gradlint.static.lowering.values import UNKNOWN, Class, Function, Imported, Library, Unknown, Value
from gradlint.static.sources.project import Module

ITSELF = "sys.modules[__name__]"
"""A module as it names itself."""


class Modules(Branches):
    """Finds the values of names that other files bind."""

    def named(self, dotted: str) -> Value:
        """Return what a dotted name stands for: something of a file that is in sight, else of a library."""
        home, _, name = dotted.rpartition(".")
        if home == ITSELF:
            return self._here(name)
        if not home or self.models.role_of(dotted) != "unknown" or self.models.is_own(dotted):
            return Library(dotted)
        module = self.project.module(home)
        found = self._member(module, name) if module is not None else None
        return Library(dotted) if found is None else found

    def quietly(self, node: ast.expr) -> Value:
        """Return what names alone tell of an expression; nothing is emitted."""
        if type(node) is ast.Name:
            return self.lookup(node.id)
        if type(node) is ast.Attribute:
            value = self.quietly(node.value)
            return self.named(f"{value.name}.{node.attr}") if isinstance(value, Library) else UNKNOWN
        return UNKNOWN

    def seen_from(self, frame: Uid, node: ast.expr) -> Value:
        """Return what names alone tell of an expression in another frame; nothing is emitted."""
        outer, self.frame = self.frame, self.frames.get(frame, self.module)
        try:
            return self.quietly(node)
        finally:
            self.frame = outer

    def _here(self, name: str) -> Value:
        """Return what a name is at the top of the file that we are in."""
        outer = frame = self.frame
        while frame.parent is not None:
            frame = frame.parent
        self.frame = frame
        try:
            return self.lookup(name)
        finally:
            self.frame = outer

    def imported(self, module: str, name: str, level: int) -> Value:
        """Return what `from {level dots}{module} import {name}` binds where we are."""
        home = self.frame.module.absolute(module, level)
        if level and not home:
            return Library(f"{'.' * level}{name}")
        dotted = f"{home}.{name}" if home else name
        return Imported(dotted) if home and self.project.holds(home) else self.named(dotted)

    def beyond(self, frame: Frame, name: str) -> Value | None:
        """Return what the module of `frame` binds to a name that was not read yet."""
        if frame is not self.module:
            return self._member(frame.module, name)
        return self._starred(frame.module, name) if frame.module.contents.stars else None

    def calls_elsewhere(self, function: ast.AST) -> bool:
        """Whether a function at the top of the file calls what another file binds, by its name."""
        called = (self.store.get((self.module.path, name)) for name in self.syntax.functions(function))
        return any(
            isinstance(each, Imported) or (isinstance(each, (Class, Function)) and each.frame != self.module.path)
            for each in called
        )

    def _member(self, module: Module, name: str) -> Value | None:
        frame = self._frame_of(module)
        key = (frame.path, name)
        known = self.store.get(key)
        if known is not None and not isinstance(known, Imported):
            return known
        if key in self.sought:
            # Files that import a name from one another.
            return None
        self.sought.add(key)
        if known is None:
            known = self._read(frame, name)
        if isinstance(known, Imported):
            known = self.store[key] = self.named(known.name)
        self.sought.discard(key)
        return known

    def _read(self, frame: Frame, name: str) -> Value | None:
        found = frame.module.contents.bindings.get(name)
        if found is None:
            return self._starred(frame.module, name)
        chosen = _chosen(found)
        if chosen is None or name in frame.module.contents.rebound:
            self.store[frame.path, name] = value = Unknown(f"{'/'.join(frame.path)}/{name}")
            return value
        with self._elsewhere(frame):
            self.block([chosen])
        return self.store.setdefault((frame.path, name), UNKNOWN)

    def _starred(self, module: Module, name: str) -> Value | None:
        stars = module.contents.stars
        if not stars or name.startswith("_"):
            return None
        # What a package takes from its modules for type checkers only does not hide a module of that name.
        all_of_them = not self.project.holds(f"{module.name}.{name}")
        for star in stars:
            dotted = module.absolute(star.module, star.level)
            if (all_of_them or star.runs) and name in self.project.exports(dotted):
                home = self.project.module(dotted)
                found = self._member(home, name) if home is not None and home is not module else None
                if found is not None:
                    return found
        return None

    def _frame_of(self, module: Module) -> Frame:
        if module is self.module.module:
            return self.module
        path = (f"module {module.name}",)
        return self.frames.setdefault(path, Frame(path, None, module))

    @contextmanager
    def _elsewhere(self, frame: Frame) -> Iterator[None]:
        """Lower something at the top of another module, whatever goes on here."""
        here = (self.frame, self.grad, self.dead, self.hint, self.pending, self.loops)
        self.frame, self.grad, self.dead, self.hint, self.pending, self.loops = frame, Grad.ON, False, "", [], ()
        with self.aside():
            yield
        self.frame, self.grad, self.dead, self.hint, self.pending, self.loops = here


def _chosen(statements: list[ast.stmt]) -> ast.stmt | None:
    """Return the statement that a name certainly comes from; of alternative imports, the first one."""
    first = statements[0]
    if len(statements) == 1:
        return None if isinstance(first, (ast.For, ast.While, ast.AugAssign)) else first
    imports = all(isinstance(each, (ast.Import, ast.ImportFrom)) for each in statements)
    return first if imports else None
