"""Which functions and classes can have a hand in training at all, by the words in them and in what they name.

It knows syntax and modules; it must not know values. What has no such word, and is given nothing
that is trained, need not be followed: it can be called as often as it likes.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.static.sources.project import Module, Project
from gradlint.static.syntax.questions import Syntax

_WORDS = frozenset(
    [
        "autograd",
        "backward",
        "enable_grad",
        "eval",
        "grad",
        "inference_mode",
        "lr_scheduler",
        "manual_backward",
        "no_grad",
        "optim",
        "param_groups",
        "parameters",
        "named_parameters",
        "requires_grad",
        "requires_grad_",
        "set_grad_enabled",
        "step",
        "train",
        "zero_grad",
        "DistributedSampler",
        "Module",
        "Optimizer",
    ]
)
_MOST = 300
"""More functions than this are not looked through: what names so many may do anything."""

Place = tuple[ast.AST, Module]


class Footprints:
    """Looks through functions and classes, and through what they name in the files that are in sight."""

    def __init__(self, project: Project, syntax: Syntax) -> None:
        self._project = project
        self._syntax = syntax
        self._known: dict[ast.AST, bool] = {}
        self._set: dict[ast.AST, frozenset[str]] = {}
        self._sought: set[tuple[str, str]] = set()

    def trains(self, start: ast.AST, module: Module) -> bool:
        """Whether a function or class may have a hand in training."""
        if start not in self._known:
            self._known[start] = self._search((start, module))
        return self._known[start]

    def sets(self, start: ast.AST, module: Module) -> frozenset[str]:
        """Return the attributes that a function without a hand in training, or whatever it names, may assign."""
        if start not in self._set:
            places = (node for node, _ in self._named_from((start, module)))
            self._set[start] = frozenset[str]().union(*map(self._syntax.assigned_attributes, places))
        return self._set[start]

    def _search(self, start: Place) -> bool:
        for count, (node, _) in enumerate(self._named_from(start)):
            if self._known.get(node) or self._syntax.mentioned(node) & _WORDS or count > _MOST:
                return True
        return False

    def _named_from(self, start: Place) -> Iterator[Place]:
        """Yield a function or class, what it names, and what that names."""
        todo, seen = [start], {start[0]}
        while todo:
            place = todo.pop()
            yield place
            for other in self._named_in(*place):
                if other[0] not in seen:
                    seen.add(other[0])
                    todo.append(other)

    def _named_in(self, node: ast.AST, module: Module) -> Iterator[Place]:
        for name in self._syntax.mentioned(node):
            for statement in module.contents.bindings.get(name, ()):
                yield from self._bound_by(statement, name, module, node)

    def _bound_by(self, statement: ast.stmt, name: str, module: Module, user: ast.AST) -> Iterator[Place]:
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield statement, module
            case ast.ImportFrom(module=home, names=names, level=level):
                original = next((alias.name for alias in names if name in (alias.asname, alias.name)), name)
                yield from self._member(module.absolute(home or "", level), original, user)
            case ast.Import(names=names):
                for alias in names:
                    if name == (alias.asname or alias.name.split(".")[0]):
                        yield from self._members(self._project.module(alias.name), user)

    def _member(self, home: str, name: str, user: ast.AST) -> Iterator[Place]:
        if (home, name) in self._sought:
            # Files that import a name from one another; Python finds it where else it is bound.
            return
        owner = self._project.module(home) if home else None
        statements = owner.contents.bindings.get(name, ()) if owner is not None else ()
        if owner is None or not statements:
            yield from self._members(self._project.module(f"{home}.{name}"), user)
            return
        self._sought.add((home, name))
        for statement in statements:
            yield from self._bound_by(statement, name, owner, user)
        self._sought.discard((home, name))

    def _members(self, owner: Module | None, user: ast.AST) -> Iterator[Place]:
        """Yield what `user` names of a module that it has by name."""
        if owner is None:
            return
        for name in self._syntax.mentioned(user):
            for statement in owner.contents.bindings.get(name, ()):
                if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                    yield statement, owner
