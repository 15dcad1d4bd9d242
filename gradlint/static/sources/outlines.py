"""Outlines: which names a module binds and hands on, small enough to be kept of thousands of files.

It knows syntax; it must not know files.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from gradlint.data import dataclass


@dataclass(frozen=True, slots=True)
class Star:
    """A statement `from {level dots}{module} import *`; one for type checkers only does not run."""

    module: str
    level: int
    runs: bool


@dataclass(frozen=True, slots=True)
class Outline:
    """The names that a module binds at its top, and the modules from which it takes all."""

    names: frozenset[str]
    stars: tuple[Star, ...]


NOTHING = Outline(frozenset(), ())


def stars(tree: ast.Module, statements: Iterable[ast.stmt]) -> Iterator[Star]:
    """Yield the imports of everything among the `statements` that importing a module runs, in order."""
    unrun = {each for statement in tree.body for each in _for_types(statement)}
    for each in statements:
        if isinstance(each, ast.ImportFrom) and any(alias.name == "*" for alias in each.names):
            yield Star(each.module or "", each.level, each not in unrun)


def _for_types(statement: ast.stmt) -> list[ast.stmt]:
    """Return what only a type checker reads in a statement."""
    match statement:
        case ast.If(ast.Name("TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING"), body):
            return body
        case _:
            return []


def absolute(package: str, module: str, level: int) -> str:
    """Return the full name of what `from {level dots}{module} import` names in a package; empty where that is beyond the top."""
    if not level:
        return module
    parts = package.split(".") if package else []
    if level - 1 > len(parts):
        return ""
    return ".".join([*parts[: len(parts) - level + 1], *([module] if module else [])])
